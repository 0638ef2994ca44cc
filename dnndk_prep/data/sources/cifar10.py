"""CIFAR-10: from Keras' download and cache, or from the published folder of python batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dnndk_prep.data.parts import ONLY_INPUT, ArrayPart
from dnndk_prep.data.safe_pickle import load_pickle
from dnndk_prep.data.sources import Dataset
from dnndk_prep.errors import ModelFileError

_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_TRAIN_FILES = tuple(f"data_batch_{i}" for i in range(1, 6))


def open_cifar10(path: Path | None) -> Dataset:
    """uint8 32x32x3 images; `path` is a folder like `cifar-10-batches-py`, None means Keras' own download.

    Raises ModelFileError if the download fails or a file is missing or wrong, UnsafeFileError for unsafe pickles.
    """
    if path is None:
        return _from_keras()
    train = _part([_batch(path / name) for name in _TRAIN_FILES])
    return Dataset("cifar10", train, _part([_batch(path / "test_batch")]), _class_names(path / "batches.meta"))


def _from_keras() -> Dataset:
    from keras.datasets import cifar10  # Keras takes seconds to import, and is needed on this way only.

    try:
        (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails.
        raise ModelFileError(
            "CIFAR-10 could not be had from Keras",
            expected="a working download, or Keras' cache in ~/.keras/datasets",
            found=str(error),
            remedy="set dataset.path to the folder cifar-10-batches-py",
        ) from error
    train, test = (_part([(x, y.ravel())]) for x, y in ((x_train, y_train), (x_test, y_test)))
    return Dataset("cifar10", train, test, _CLASSES)


def _part(batches: list[tuple[np.ndarray, np.ndarray]]) -> ArrayPart:
    images, labels = zip(*batches, strict=True)
    return ArrayPart({ONLY_INPUT: np.concatenate(images)}, np.concatenate(labels).astype(np.int64))


def _batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) and labels (N,); in the file a row holds the red, then the green, then the blue plane."""
    content = _dict(path, "data", "labels")
    data, labels = content["data"], np.asarray(content["labels"])
    planes = 3 * 32 * 32
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != (len(labels), planes):
        raise ModelFileError(
            f"{path} is not a CIFAR-10 batch",
            expected=f"data of uint8 {len(labels)}x{planes}, one row a label",
            found=f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__,
            remedy="take the python version of CIFAR-10 from its publisher",
        )
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def _class_names(path: Path) -> tuple[str, ...]:
    names = _dict(path, "label_names")["label_names"]
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)


def _dict(path: Path, *keys: str) -> dict[str, Any]:
    content = load_pickle(path)
    texts = {_text(key): value for key, value in content.items()} if isinstance(content, dict) else {}
    missing = [key for key in keys if key not in texts]
    if missing:
        raise ModelFileError(
            f"{path} is not a CIFAR-10 file",
            expected=f"a dict with {', '.join(keys)}",
            found=f"no {', '.join(missing)}",
            remedy="set dataset.path to the published folder cifar-10-batches-py",
        )
    return texts


def _text(key: Any) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)
