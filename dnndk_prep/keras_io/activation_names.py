"""TensorFlow's functions as activations: written by their names in Python, which not every Keras reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.ops import Config
from dnndk_prep.keras_io.scan import activations_of_tensorflow

KEYS = ("activation", "recurrent_activation")
# What tf.nn.log_softmax and others are called in files -> the same function of Keras 2 and Keras 3.
OF_KERAS: Mapping[str, str] = {
    "exp": "exponential",
    "identity": "linear",
    "log_softmax_v2": "log_softmax",
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "softmax_v2": "softmax",
    "stop_gradient": "linear",
    "swish": "swish",
}


def with_own_activations(architecture: Config, file: str, custom: Collection[str] = ()) -> Config:
    """The architecture with Keras' names for TensorFlow's functions as activations, at any depth.

    Keras 3 writes tf.nn.log_softmax as {"class_name": "function", "module": "builtins", "config": "log_softmax_v2"},
    tf.keras of TensorFlow 1.15 writes tf.exp as "exp". custom: names of the user's own functions, which stay. Raises
    ModelFileError that lists all which Keras does not have.
    """
    walk = _Walk({name: own for name, own in OF_KERAS.items() if name not in custom})
    result = walk.value(architecture, "the model")
    if found := [text for name, text in walk.missing if name not in custom]:
        raise ModelFileError(
            f"{file} has activations that are functions of TensorFlow which Keras does not have",
            expected="activations of Keras, such as 'relu'",
            found="; ".join(found),
            remedy="put the function between two layers, x = tf.abs(x), and save the model again",
        )
    return result


@dataclass(frozen=True)
class _Walk:
    """One way through an architecture: the names to change, and what has none."""

    own: Mapping[str, str]
    missing: list[tuple[str, str]] = field(default_factory=list)

    def value(self, value: Any, place: str) -> Any:
        if isinstance(value, list):
            return [self.value(item, place) for item in value]
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("name"), str):
            place = value["name"]
        return {
            key: self._activation(item, place, key) if key in KEYS else self.value(item, place)
            for key, item in value.items()
        }

    def _activation(self, value: Any, place: str, key: str) -> Any:
        is_function = isinstance(value, dict) and value.get("class_name") == "function"
        name = value.get("config") if is_function else value
        if not isinstance(name, str):
            return self.value(value, place)
        if name in self.own:
            return self.own[name]
        if name in activations_of_tensorflow() - OF_KERAS.keys():
            self.missing.append((name, f"{place}: {name} as {key}"))
        return value
