"""Image files in folders: train/<class>/ and test/<class>/, or <class>/ split by a seed; masks for segmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dnndk_prep.data.images import list_images
from dnndk_prep.data.parts import FolderPart
from dnndk_prep.data.sources import Dataset
from dnndk_prep.errors import ModelFileError, nearest

# Of a folder that is not split, this share of each class is the test part.
TEST_SHARE = 0.2


def open_folder(path: Path, masks: Path | None, *, seed: int) -> Dataset:
    """PNG and JPEG files, read when they are asked for.

    Without `masks` the labels are the class folders' places in the sorted list of their names. With `masks`, a tree of
    PNGs under the images' relative names, labels are class maps, and images may lie at any depth.
    Raises ModelFileError for a missing or empty folder, parts with different classes, or a missing mask.
    """
    for folder in filter(None, (path, masks)):
        if not folder.is_dir():
            raise ModelFileError(
                f"the folder {folder} is not there", expected="a folder of images", found=_what(folder)
            )
    split = {"train", "test"} <= set(_subfolders(path))
    if masks is not None:
        return _segmentation(path, masks, split, seed)
    return _two_parts(path) if split else _one_part(path, seed)


def _two_parts(path: Path) -> Dataset:
    names = {part: _subfolders(path / part) for part in ("train", "test")}
    if names["train"] != names["test"]:
        odd = sorted(set(names["train"]) ^ set(names["test"]))
        raise ModelFileError(
            f"train/ and test/ of {path} have different classes",
            expected="the same class folders in both",
            found=f"only in one of them: {', '.join(odd[:10])}",
            remedy="add or remove class folders",
        )
    parts = []
    for part, classes in names.items():
        groups = _classes(path / part, classes)
        labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        parts.append(FolderPart(path, [file for group in groups for file in group], labels))
    return Dataset("folder", parts[0], parts[1], tuple(names["train"]))


def _one_part(path: Path, seed: int) -> Dataset:
    names = _subfolders(path)
    files: dict[str, list[Path]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for label, group in enumerate(_classes(path, names)):
        for part, chosen in zip(files, _split(group, [seed, label]), strict=True):
            files[part] += chosen
            labels[part] += [label] * len(chosen)
    if not files["test"]:
        raise ModelFileError(
            f"{path} has too few images to split",
            expected="at least 2 images in a class folder",
            found=f"{len(files['train'])} image(s) in {len(names)} class(es)",
            remedy="add images, or give train/ and test/ folders",
        )
    train, test = (FolderPart(path, files[part], np.array(labels[part], np.int64)) for part in files)
    return Dataset("folder", train, test, tuple(names))


def _segmentation(path: Path, masks: Path, split: bool, seed: int) -> Dataset:
    if split:
        groups = tuple(list_images(path / part, recursive=True) for part in ("train", "test"))
    else:
        groups = _split(list_images(path, recursive=True), [seed, 0])
    for group in groups:
        if not group:
            raise _empty(path)
    train, test = (FolderPart(path, group, None, [_mask_of(file, path, masks) for file in group]) for group in groups)
    return Dataset("folder", train, test, ())


def _mask_of(file: Path, path: Path, masks: Path) -> Path:
    mask = (masks / file.relative_to(path)).with_suffix(".png")
    if not mask.is_file():
        there = [found.name for found in list_images(mask.parent)] if mask.parent.is_dir() else []
        near = nearest(mask.name, there)
        raise ModelFileError(
            f"the image {file} has no mask",
            expected=str(mask),
            found=f"no such file; near it: {', '.join(near)}" if near else "no such file",
            remedy="give each image a PNG mask under its own relative name",
        )
    return mask


def _classes(folder: Path, names: list[str]) -> list[list[Path]]:
    if not names:
        raise ModelFileError(
            f"{folder} has no class folders",
            expected="one folder a class, or train/ and test/ with one folder a class in each",
            found=f"{len(list_images(folder))} image(s) and no folder",
            remedy="put the images of each class into a folder with the class's name",
        )
    if names in (["train"], ["test"]):
        raise ModelFileError(
            f"{folder} has {names[0]}/ alone",
            expected="train/ and test/, or class folders that are split for you",
            found=names[0],
            remedy=f"add the other folder, or set dataset.path to {folder / names[0]}",
        )
    groups = [list_images(folder / name) for name in names]
    for name, group in zip(names, groups, strict=True):
        if not group:
            raise _empty(folder / name)
    return groups


def _split(files: list[Path], seed: list[int]) -> tuple[list[Path], list[Path]]:
    """Training and test files; each list keeps the sorted order, one file alone is for training."""
    count = max(1, round(TEST_SHARE * len(files))) if len(files) > 1 else 0
    chosen = set(np.random.default_rng(seed).permutation(len(files))[:count].tolist())
    return (
        [file for i, file in enumerate(files) if i not in chosen],
        [file for i, file in enumerate(files) if i in chosen],
    )


def _subfolders(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _empty(folder: Path) -> ModelFileError:
    return ModelFileError(
        f"the folder {folder} holds no images",
        expected="PNG or JPEG files",
        found="none",
        remedy="put images there, or take the folder away",
    )


def _what(path: Path) -> str:
    return "a file" if path.exists() else "nothing"
