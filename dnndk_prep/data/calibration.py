"""Chooses the examples that the quantizer calibrates on: seeded, class-balanced, never from the test part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from dnndk_prep.data.images import list_images
from dnndk_prep.data.parts import ArrayPart, FolderPart, Part
from dnndk_prep.data.sources import Dataset
from dnndk_prep.data.sources.npz import checked_inputs, read_arrays
from dnndk_prep.errors import ModelFileError

LIST_FILE = "calib_list.txt"
# The vendor asks for 100 to 1000 images (UG1414, "Preparing the Calibration Dataset").
FEW = 100


@dataclass(frozen=True)
class CalibrationSet:
    """The examples `indices` of `part`, in the order in which they are fed, and what the user should know."""

    part: Part
    indices: np.ndarray
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def label(self, position: int) -> int | None:
        """The class number of the example at `position`, if it is known."""
        return None if self.part.labels is None else int(self.part.labels[self.indices[position]])


def from_dataset(dataset: Dataset, count: int, seed: int) -> CalibrationSet:
    """`count` examples of the training part."""
    return _chosen(dataset.train, count, seed)


def from_path(path: Path, count: int, seed: int) -> CalibrationSet:
    """`count` examples of the user's own: a folder of images, or an .npz with one array a Placeholder.

    A folder may hold calib_list.txt with a line `name` or `name label` an image; without it all its PNG and JPEG files
    are used. Raises ModelFileError if there is nothing to use or an entry is wrong.
    """
    if path.is_dir():
        return _chosen(_folder(path), count, seed)
    if not path.exists():
        raise ModelFileError(
            f"the calibration data {path} are not there",
            expected="a folder of images, or an .npz",
            found="nothing",
            remedy="set calibration.path, or leave it out to use the training images",
        )
    return _chosen(_arrays(path), count, seed)


def choose(labels: np.ndarray | None, total: int, count: int, seed: int) -> np.ndarray:
    """Up to `count` of the numbers below `total`, balanced over `labels` where they are given.

    Classes take turns in a seeded order, so every batch is mixed and class counts differ by one at most while classes
    last.
    """
    random = np.random.default_rng(seed)
    if labels is None:
        return random.permutation(total)[:count]
    shuffled = random.permutation(total)
    turns = np.empty(total, np.int64)
    order = random.permutation(np.unique(labels))
    place = np.empty(total, np.int64)
    for position, label in enumerate(order):
        members = shuffled[labels[shuffled] == label]
        turns[members], place[members] = np.arange(len(members)), position
    return np.lexsort((place, turns))[:count]


def _chosen(part: Part, count: int, seed: int) -> CalibrationSet:
    indices = choose(part.labels, len(part), count, seed)
    warnings = []
    if len(indices) < count:
        warnings.append(f"calibration.count asks for {count} examples, there are {len(indices)}")
    if len(indices) < FEW:
        warnings.append(f"{len(indices)} calibration examples are few: the quantizer wants {FEW} to 1000")
    return CalibrationSet(part, indices, tuple(warnings))


def _arrays(path: Path) -> ArrayPart:
    arrays = read_arrays(path)
    if not arrays:
        raise ModelFileError(
            f"{path} holds no array", expected="one array a Placeholder, under its name", found="an empty .npz"
        )
    checked_inputs(path, arrays)
    return ArrayPart(arrays)


def _folder(path: Path) -> FolderPart:
    # The folder that the calib_input stage writes can be given as it is: its images lie one level deeper.
    root = path / "images" if (path / "images").is_dir() and not list_images(path) else path
    listing = path / LIST_FILE
    if listing.is_file():
        return _listed(root, listing)
    files = list_images(root)
    if not files:
        raise ModelFileError(
            f"the folder {path} holds no calibration images",
            expected=f"PNG or JPEG files, with or without {LIST_FILE}",
            found="none",
            remedy="put 100 to 1000 images there, or leave calibration.path out to use the training images",
        )
    return FolderPart(root, files, None)


def _listed(root: Path, listing: Path) -> FolderPart:
    try:
        text = listing.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{listing} cannot be read", expected="text in UTF-8", found=str(error)) from error
    entries = [
        _entry(root, listing, number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()
    ]
    labels = [label for _, label in entries if label is not None]
    if not entries or len(labels) not in (0, len(entries)):
        raise ModelFileError(
            f"{listing} cannot be used",
            expected="one image a line, and a label either on every line or on none",
            found=f"{len(entries)} lines, {len(labels)} with a label",
            remedy="complete the list",
        )
    return FolderPart(root, [file for file, _ in entries], np.array(labels, np.int64) if labels else None)


def _entry(root: Path, listing: Path, number: int, line: str) -> tuple[Path, int | None]:
    """The file and the label of a line; a name may hold blanks, so the whole line is tried first."""
    name, _, label = line.rpartition(" ")
    for candidate, text in ((line, None), (name.strip(), label)):
        inside = candidate and not PurePosixPath(candidate).is_absolute() and ".." not in PurePosixPath(candidate).parts
        if inside and (root / candidate).is_file():
            if text is not None and not text.isdecimal():
                raise _wrong_line(listing, number, "a class number as the label", text)
            return root / candidate, None if text is None else int(text)
    raise _wrong_line(listing, number, f"the name of an image in {root.name}/", line)


def _wrong_line(listing: Path, number: int, expected: str, found: str) -> ModelFileError:
    return ModelFileError(
        f"{listing}, line {number} cannot be used",
        expected=expected,
        found=found,
        remedy="write `name` or `name label`, names relative to the folder",
    )


def list_text(names: Sequence[str], labels: Sequence[int | None]) -> str:
    """The content of calib_list.txt: a name a line, with its label where there is one."""
    lines = (name if label is None else f"{name} {label}" for name, label in zip(names, labels, strict=True))
    return "".join(f"{line}\n" for line in lines)
