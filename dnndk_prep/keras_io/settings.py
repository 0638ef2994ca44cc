"""Finds settings of an architecture that a built Keras 2 model does not have: nothing may be lost in silence.

Most layers refuse what they do not know; some take any setting and drop it. Such a setting must not change what the
layer computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.architecture import INNER_LAYERS, MODELS
from dnndk_prep.keras_io.ops import Config

# Only training knows them.
TRAINING_ENDS = ("_initializer", "_regularizer", "_constraint")
ANY_VALUE = object()

# Setting -> the values with which it does nothing. None does nothing anywhere.
WITHOUT_EFFECT: Mapping[str, Any] = {
    # The shape of the input, said once more.
    **dict.fromkeys(("input_dim", "input_length", "input_shape", "batch_input_shape", "build_input_shape"), ANY_VALUE),
    # How a loop is computed, not what.
    **dict.fromkeys(("implementation", "seed", "weights", "autocast", "dtype", "trainable"), ANY_VALUE),
    # Of random layers, which do nothing in inference.
    "rng_type": ANY_VALUE,
    **dict.fromkeys(("time_major", "ragged", "sparse", "renorm", "synchronized", "zero_output_for_mask"), (False,)),
    # Attention of Keras 2.8; later it is said at the call.
    "causal": (False,),
    **{key: (1, (1, 1), [1, 1]) for key in ("groups", "dilation_rate")},
    "virtual_batch_size": (),
    "return_state": (False,),
}


def check_settings(model: Any, config: Config, file: str) -> None:
    """Raises ModelFileError that lists layer, key and value of each setting in `config` that `model` did not take.

    `model` is the Keras 2 model that was built from `config`.
    """
    lost = list(_lost(model, config))
    if lost:
        raise ModelFileError(
            f"{file} holds {len(lost)} setting(s) that Keras 2 does not have",
            expected="settings that Keras 2 has",
            found="; ".join(lost),
            remedy="build the model without them, and save it again",
            code="K2D-0006",
        )


def _lost(model: Any, config: Config) -> Iterator[str]:
    settings = config["config"]
    members = settings if isinstance(settings, list) else settings["layers"]
    built = {layer.name: layer for layer in model.layers}
    for member in members:
        own = member["config"]
        layer = built.get(own.get("name") if isinstance(own, dict) else None)
        # A Sequential does not list its input; a nested list of layers has no name to find it by.
        if layer is None:
            continue
        yield from _lost(layer, member) if member["class_name"] in MODELS else _lost_of(layer, own, layer.name)


def _lost_of(layer: Any, settings: Config, name: str) -> Iterator[str]:
    taken = layer.get_config()
    for key, value in settings.items():
        if key not in taken and not _has_no_effect(key, value):
            yield f"{name}: {key}: {value!r}"
        inner = settings[key] if key in INNER_LAYERS else None
        built = getattr(layer, key, None)
        if isinstance(inner, dict) and hasattr(built, "get_config") and inner.get("class_name") not in MODELS:
            yield from _lost_of(built, inner["config"], name)


def _has_no_effect(key: str, value: Any) -> bool:
    if value is None or key.endswith(TRAINING_ENDS):
        return True
    allowed = WITHOUT_EFFECT.get(key, ())
    return allowed is ANY_VALUE or value in allowed
