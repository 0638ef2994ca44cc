"""Small models of every kind that the conversion must take, in Keras 3 and Keras 2 alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np

Make = Callable[[ModuleType], Any]


def cnn(keras: ModuleType) -> Any:
    layers = keras.layers
    x = image = layers.Input((12, 12, 3), name="image")
    x = layers.Conv2D(6, 3, use_bias=False, name="conv1")(x)
    x = layers.ReLU(name="relu1")(layers.BatchNormalization(name="bn1")(x))
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu", name="dw")(x)
    x = layers.Dropout(0.5, name="drop")(layers.MaxPooling2D(2, name="pool")(x))
    x = layers.LeakyReLU(0.1, name="leaky")(layers.Flatten(name="flat")(x))
    return keras.Model(image, layers.Dense(4, activation="softmax", name="prob")(x), name="cnn")


def several(keras: ModuleType) -> Any:
    layers = keras.layers
    a, b = layers.Input((8, 8, 3), name="left"), layers.Input((5,), name="right")
    x = layers.GlobalAveragePooling2D(name="gap")(layers.Conv2D(5, 3, name="conv")(a))
    y = layers.Add(name="sum")([x, b])
    linear = layers.Activation("linear", name="raw")(layers.Dense(3, name="logits")(y))
    return keras.Model([a, b], [linear, layers.Dense(2, activation="sigmoid", name="flags")(y)], name="several")


def nested(keras: ModuleType) -> Any:
    layers = keras.layers
    part = layers.Input((8, 8, 3), name="part")
    body = keras.Model(part, layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, name="conv")(part)), name="body")
    head = keras.Sequential(
        [layers.Input((6, 6, 4)), layers.Flatten(name="flat"), layers.Dense(3, name="fc")], name="head"
    )
    image = layers.Input((8, 8, 3), name="image")
    return keras.Model(image, head(body(image)), name="nested")


def shared(keras: ModuleType) -> Any:
    layers = keras.layers
    a, b = layers.Input((6, 6, 3), name="a"), layers.Input((6, 6, 3), name="b")
    conv = layers.Conv2D(4, 3, activation="relu", name="conv")
    inner = keras.Sequential([layers.Input((4, 4, 4)), layers.Conv2D(2, 1, name="point")], name="inner")
    return keras.Model([a, b], [layers.Concatenate(name="both")([inner(conv(a)), inner(conv(b))]), inner(conv(b))])


def without_input(keras: ModuleType) -> Any:
    layers = keras.layers
    model = keras.Sequential(
        [layers.Conv2D(4, 3, name="conv"), layers.Flatten(name="flat"), layers.Dense(3, name="fc")]
    )
    model.build((None, 8, 8, 3))
    return model


def lstm(keras: ModuleType) -> Any:
    layers = keras.layers
    recurrent = [layers.LSTM(5, return_sequences=True, name="first"), layers.LSTM(3, name="second")]
    return keras.Sequential([layers.Input((7, 4), name="series"), *recurrent, layers.Dense(1, name="fc")])


def embedding(keras: ModuleType) -> Any:
    layers = keras.layers
    words = layers.Input((9,), dtype="int32", name="words")
    x = layers.GRU(4, name="gru")(layers.Embedding(6, 3, mask_zero=True, name="table")(words))
    return keras.Model(words, layers.Dense(1, activation="sigmoid", name="score")(x))


MODELS: dict[str, Make] = {
    make.__name__: make for make in (cnn, several, nested, shared, without_input, lstm, embedding)
}


def made(name: str, keras: ModuleType) -> Any:
    """The model with weights that make every layer count."""
    keras.backend.clear_session()
    model = MODELS[name](keras)
    random = np.random.default_rng(0)
    model.set_weights([_weight(random, value.shape) for value in model.get_weights()])
    return model


def _weight(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Kernels that keep the size of what they see; vectors (biases, all of a batch norm) near 1 and positive."""
    if len(shape) == 1:
        return random.uniform(0.5, 1.5, shape)
    return random.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape)


def save(model: Any, folder: Path) -> dict[str, tuple[Path, ...]]:
    """The model in every form that its Keras writes; one path for a complete model, two for JSON and weights."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "complete.h5")
    model.save(folder / "archive.keras")
    (folder / "model.json").write_text(model.to_json())
    model.save_weights(str(folder / "new.weights.h5"))
    with h5py.File(folder / "complete.h5") as source, h5py.File(folder / "classic.h5", "w") as target:
        for key, value in source["model_weights"].attrs.items():
            target.attrs[key] = value
        for key in source["model_weights"]:
            source["model_weights"].copy(key, target)
    return {
        "h5": (folder / "complete.h5",),
        "keras": (folder / "archive.keras",),
        "json": (folder / "model.json", folder / "classic.h5"),
        "json_new": (folder / "model.json", folder / "new.weights.h5"),
        "json_complete": (folder / "model.json", folder / "complete.h5"),
    }
