"""What has a form at all, and what Keras 2 can hold: looked at before any Keras sees an architecture."""

from __future__ import annotations

from collections.abc import Collection
from types import ModuleType
from typing import Any

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.application_layers import APPLICATION_LAYERS
from dnndk_prep.keras_io.architecture import (
    MODELS,
    check_classes,
    expect_complete,
    is_operation,
    layers_of,
)
from dnndk_prep.keras_io.masks import without_masks
from dnndk_prep.keras_io.through_keras import import_keras, major

# Layers that look words or ids up in tables, or hash them.
OF_WORDS = (
    *("StringLookup", "IntegerLookup", "TextVectorization", "Hashing", "HashedCrossing", "FeatureSpace"),
    *("CategoryCrossing", "IndexLookup"),
)


def check_supported(config: dict[str, Any], file: str, custom: Collection[str] = (), version: str = "2") -> None:
    """Raises ModelFileError that lists all that no way to a graph takes.

    custom: names of classes that the user brings along. version: of the Keras that wrote the architecture. A model of
    Keras 3 may hold whatever Keras 3 has, for what Keras 2 lacks is traced. One of Keras 2 must hold operations of
    keras_io.ops alone: Keras 2 calls those of its files by their names while it loads them.
    """
    with expect_complete(file):
        _check_no_words(config, file)
        if major(version) >= 3:
            _check_classes_of_keras3(config, file, custom)
        else:
            check_keras2_form(config, file, custom)


def check_keras2_form(config: dict[str, Any], file: str, custom: Collection[str] = ()) -> None:
    """Raises ModelFileError that lists all layers and operations that Keras 2 lacks."""
    # Imports TensorFlow; what only looks at files does without.
    import tf_keras

    from dnndk_prep.keras_io.plain_layers import KERAS3_LAYERS

    known = {name for name in dir(tf_keras.layers) if isinstance(getattr(tf_keras.layers, name), type)}
    check_classes(without_masks(config), known | {*KERAS3_LAYERS, *APPLICATION_LAYERS, *MODELS, *custom}, file)


def renamed_layers(keras: ModuleType) -> dict[str, Any]:
    """The layers of `keras` whose class is not called as they are: GroupQueryAttention is GroupedQueryAttention.

    Files hold either name.
    """
    public = [item for item in vars(keras.layers).values() if isinstance(item, type)]
    return {item.__name__: item for item in public if not hasattr(keras.layers, item.__name__)}


def quantized_layers(config: dict[str, Any]) -> list[str]:
    """The layers whose weights Keras itself keeps in whole numbers."""
    settings = [layer["config"] for layer in layers_of(config) if isinstance(layer.get("config"), dict)]
    return [str(one.get("name")) for one in settings if one.get("quantization_config") or _is_quantized(one)]


def _is_quantized(settings: dict[str, Any]) -> bool:
    policy = settings.get("dtype")
    return isinstance(policy, dict) and "Quantized" in str(policy.get("class_name"))


def _check_classes_of_keras3(config: dict[str, Any], file: str, custom: Collection[str]) -> None:
    keras = import_keras("3")
    known = {*vars(keras.layers), *renamed_layers(keras), *APPLICATION_LAYERS, *MODELS, *custom}
    unknown = [
        f"{layer.get('name') or layer['config'].get('name')}: {layer.get('registered_name') or layer['class_name']}"
        for layer in layers_of(config)
        if not is_operation(layer) and str(layer["class_name"]).rpartition(">")[2] not in known
    ]
    if unknown:
        raise ModelFileError(
            f"{file} holds {len(unknown)} layer(s) that Keras does not have",
            expected="layers of Keras' own, or classes named in model.custom_objects",
            found="; ".join(unknown),
            remedy="name your own classes in model.custom_objects",
            code="K2D-0025",
        )


def _check_no_words(config: dict[str, Any], file: str) -> None:
    layers = [layer for layer in layers_of(config) if str(layer.get("class_name")).rpartition(">")[2] in OF_WORDS]
    if layers:
        raise ModelFileError(
            f"{file} holds {len(layers)} layer(s) that look words or ids up in tables",
            expected="a model of numbers: no graph for the DPU holds tables",
            found="; ".join(f"{layer['config'].get('name')}: {layer['class_name']}" for layer in layers),
            remedy="save the part of the model that comes after these layers",
        )
