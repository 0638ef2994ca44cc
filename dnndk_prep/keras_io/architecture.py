"""Walks over an architecture as Keras writes it: its layers, what it computes beside them, what it lacks.

An architecture is a dict with class_name and config; a layer inside it looks the same.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io import ops
from dnndk_prep.keras_io.ops import Config, is_tensor

MODELS = ("Functional", "Sequential", "Model")
# Layers of Keras 3 that write no `trainable`.
UNTRAINED_LAYERS = (
    *("InputLayer", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    *("Discretization", "HashedCrossing", "Pipeline"),
)
INNER_LAYERS = ("layer", "cell", "cells", "forward_layer", "backward_layer")


@contextmanager
def expect_complete(file: str) -> Iterator[None]:
    """What goes wrong inside because the architecture lacks something is a ModelFileError about `file`."""
    try:
        yield
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, RecursionError) as error:
        raise ModelFileError(
            f"the architecture in {file} is not complete",
            expected="an architecture as Keras writes it",
            found=f"{type(error).__name__}: {error}",
            remedy="save the model again",
        ) from error


def layers_of(layer: Config) -> Iterator[Config]:
    """`layer` and all layers inside it: of nested models, wrappers and cells."""
    yield layer
    config = layer.get("config")
    # Keras before 2.2.3 wrote a Sequential's layers as a list, without a name.
    inner: list[Any] = list(config) if isinstance(config, list) else []
    if isinstance(config, dict):
        inner += config.get("layers") or []
        for key in INNER_LAYERS:
            inner += config[key] if isinstance(config.get(key), list) else [config.get(key)]
    for item in inner:
        if isinstance(item, dict):
            yield from layers_of(item)


def with_old_resizes(architecture: Config, version: str) -> Config:
    """The architecture with half_pixel_centers: False where the Keras of `version` resized without them.

    So did Keras before 2.4 ("2.3.1", but not "2.2.4-tf"), in UpSampling2D with "bilinear": its TensorFlow backend
    called resize_bilinear of TensorFlow 1. With "nearest" both ways give the same for whole factors.
    """
    release = [int(part) if part.isdigit() else 0 for part in version.split(".")[:2]]
    if version.endswith("-tf") or len(release) < 2 or release >= [2, 4]:
        return architecture
    result = deepcopy(architecture)
    for layer in layers_of(result):
        if layer["class_name"] == "UpSampling2D" and layer["config"].get("interpolation") == "bilinear":
            layer["config"]["half_pixel_centers"] = False
    return result


def check_classes(architecture: Config, known: Container[str], file: str) -> None:
    """Raises ModelFileError that lists every layer, however deep, that Keras 2 lacks: its class, or its operation.

    known: the classes that there are; an operation must be in the tables of keras_io.ops.
    """
    problems = [text for layer in layers_of(architecture) if (text := _why_not(layer, known))]
    if problems:
        raise ModelFileError(
            f"{file} holds {len(problems)} layer(s) that Keras 2 does not have",
            expected="layers of Keras' own that Keras 2 and Keras 3 share, or classes named in model.custom_objects",
            found="; ".join(problems),
            remedy="replace them by such layers and save again, or name your own classes in model.custom_objects",
        )


def is_operation(layer: Config) -> bool:
    """Whether `layer` is an operation of Keras 3 that is no layer, such as the Add of x + 1.

    An .h5 does not tell the module, and keras.ops has an Add, too; but only layers can be trained.
    """
    if layer.get("module"):
        return ".ops" in layer["module"]
    config = layer.get("config")
    return (
        isinstance(config, dict)
        and "trainable" not in config
        and layer.get("class_name") not in (*UNTRAINED_LAYERS, ops.OPERATION, *MODELS)
        and any(isinstance(node, dict) for node in layer.get("inbound_nodes", []))
    )


def tensors_in(value: Any) -> Iterator[tuple[str, int, int]]:
    """Layer, call and place of all tensors in `value`: arguments of a call of Keras 3, or the ends of a model."""
    if is_tensor(value):
        yield tuple(value["config"]["keras_history"])
    elif isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        yield tuple(value)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(item)


def _why_not(layer: Config, known: Container[str]) -> str | None:
    kind = str(layer.get("class_name"))
    config = layer.get("config")
    name = layer.get("name") or (config.get("name") if isinstance(config, dict) else None) or "unnamed"
    if is_operation(layer) or kind in (*ops.TF_LAMBDAS, "TensorFlowOpLayer"):
        text = ops.problem(layer)
        return f"{name}: {text}" if text else None
    registered = str(layer.get("registered_name") or kind)
    if kind.rpartition(">")[2] in known:
        return None
    return f"{name}: {registered}"
