"""What Keras 2 can hold: looked at before any Keras sees an architecture."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.architecture import MODELS, check_classes, expect_complete, layers_of
from dnndk_prep.keras_io.masks import without_masks

# Layers that look words or ids up in tables, or hash them.
OF_WORDS = (
    *("StringLookup", "IntegerLookup", "TextVectorization", "Hashing", "HashedCrossing", "FeatureSpace"),
    *("CategoryCrossing", "IndexLookup"),
)


def check_supported(config: dict[str, Any], file: str, custom: Collection[str] = ()) -> None:
    """Raises ModelFileError that lists all layers and operations that Keras 2 lacks.

    custom: names of classes that the user brings along. Keras 2 calls the operations of its files by their names while
    it loads them; after this check only names of keras_io.ops are left.
    """
    # Imports TensorFlow; what only looks at files does without.
    import tf_keras

    from dnndk_prep.keras_io.plain_layers import KERAS3_LAYERS

    classes = {name for name in dir(tf_keras.layers) if isinstance(getattr(tf_keras.layers, name), type)}
    with expect_complete(file):
        _check_no_words(config, file)
        check_classes(without_masks(config), classes | {*KERAS3_LAYERS, *MODELS, *custom}, file)


def _check_no_words(config: dict[str, Any], file: str) -> None:
    layers = [layer for layer in layers_of(config) if str(layer.get("class_name")).rpartition(">")[2] in OF_WORDS]
    if layers:
        raise ModelFileError(
            f"{file} holds {len(layers)} layer(s) that look words or ids up in tables",
            expected="a model of numbers: no graph for the DPU holds tables",
            found="; ".join(f"{layer['config'].get('name')}: {layer['class_name']}" for layer in layers),
            remedy="save the part of the model that comes after these layers",
        )
