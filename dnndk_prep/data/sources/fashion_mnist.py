"""The sample that ships with the package: 8,000 images of Zalando's Fashion-MNIST (see fashion_mnist_8k.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dnndk_prep.data.parts import ONLY_INPUT, ArrayPart
from dnndk_prep.data.sources import Dataset

_FILE = Path(__file__).parent.parent / "fashion_mnist_8k.npz"
_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def open_sample() -> Dataset:
    """6,000 training and 2,000 test images, uint8 32x32x3: 28x28 zero-padded by 2, the gray repeated."""
    with np.load(_FILE, allow_pickle=False) as arrays:
        train, test = (
            ArrayPart({ONLY_INPUT: _as_rgb32(arrays[f"x_{part}"])}, arrays[f"y_{part}"].astype(np.int64))
            for part in ("train", "test")
        )
    return Dataset("fashion_mnist_sample", train, test, _CLASSES)


def _as_rgb32(images: np.ndarray) -> np.ndarray:
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    return np.repeat(padded[..., None], 3, axis=3)
