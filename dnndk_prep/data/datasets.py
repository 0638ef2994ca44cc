"""Opens a dataset by name: its training part, its test part and the names of its classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dnndk_prep.data.parts import ONLY_INPUT, ArrayPart, FolderPart, Part, misfit, with_inputs
from dnndk_prep.data.sources import Dataset, cifar10, fashion_mnist, folder, imdb, npz
from dnndk_prep.errors import ModelFileError, UsageError, nearest

__all__ = ["NAMES", "ONLY_INPUT", "ArrayPart", "Dataset", "FolderPart", "Part", "misfit", "open_dataset", "with_inputs"]

_SOURCES: dict[str, Callable[[Path | None, Path | None, int], Dataset]] = {
    "fashion_mnist_sample": lambda path, masks, seed: fashion_mnist.open_sample(),
    "cifar10": lambda path, masks, seed: cifar10.open_cifar10(path),
    "imdb": lambda path, masks, seed: imdb.open_imdb(path),
    "folder": lambda path, masks, seed: folder.open_folder(_needed(path, "folder"), masks, seed=seed),
    "npz": lambda path, masks, seed: npz.open_npz(_needed(path, "npz")),
    "none": lambda path, masks, seed: _no_data(),
}
NAMES = tuple(_SOURCES)


def open_dataset(name: str, path: Path | None = None, masks: Path | None = None, *, seed: int) -> Dataset:
    """The dataset `name` (one of NAMES) from `path`; `masks` is a folder of label images, for "folder" only.

    `seed` decides the split of a folder that has no train/ and test/. Raises UsageError for an unknown name or a
    missing path, ModelFileError for data that cannot be used and UnsafeFileError for pickles that are no plain data.
    """
    if name not in _SOURCES:
        hint = nearest(name, _SOURCES)
        raise UsageError(
            f"dataset.name {name!r} is not known",
            expected=", ".join(_SOURCES),
            found=name,
            remedy=f"write {hint[0]}" if hint else "write one of these",
        )
    return _SOURCES[name](path, masks, seed)


def _needed(path: Path | None, name: str) -> Path:
    if path is None:
        raise UsageError(f"dataset.name: {name} needs dataset.path", expected="a path", found="none")
    return path


def _no_data() -> Dataset:
    raise ModelFileError(
        "no data are given",
        expected="100 to 1000 of your images in calibration.path, or a dataset",
        found="dataset.name: none",
        remedy="set calibration.path: my_images, or dataset.name: folder with dataset.path",
        code="K2D-0033",
    )
