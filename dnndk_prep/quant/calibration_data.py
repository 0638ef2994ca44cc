"""The arrays that a calibration is fed with: read from a file, and refused where positions would mean nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dnndk_prep.errors import ModelFileError, StageError
from dnndk_prep.quant.calibration import Batch, example_count
from dnndk_prep.said import NO_ARRAYS, first_line

KEY = re.compile(r"b(\d+)(?:_in(\d+))?")


class BatchFile:
    """Batches in an .npz: `b0`, `b1`, ... or, with several inputs, `b0_in0`, `b0_in1`, ... in the order of `inputs`.

    Each batch is read when it is its turn. Raises ModelFileError if an array is missing, one too many is there, or one
    cannot be read.
    """

    def __init__(self, path: Path, inputs: Sequence[str]) -> None:
        self._path, self._inputs = path, inputs
        try:
            stored = np.load(path, allow_pickle=False)
        except NO_ARRAYS as error:
            raise _unusable(path, inputs, first_line(error)) from error
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise _unusable(path, inputs, "a single array: an .npy file")
        with stored:
            names = set(stored.files)
        found = [KEY.fullmatch(name) for name in names]
        self.count = 1 + max((int(match[1]) for match in found if match), default=-1)
        wanted = {name for i in range(self.count) for name in self._names(i)}
        if not self.count or wanted != names:
            different = sorted(wanted ^ names)
            raise _unusable(path, inputs, f"missing or unknown: {', '.join(different[:5]) or 'no arrays at all'}")

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        with np.load(self._path, allow_pickle=False) as stored:
            for i in range(self.count):
                yield {name: self._read(stored, key) for name, key in zip(self._inputs, self._names(i), strict=True)}

    def _read(self, stored: Mapping[str, np.ndarray], key: str) -> np.ndarray:
        try:
            return stored[key]
        except NO_ARRAYS as error:
            raise _unusable(self._path, self._inputs, f"{key}: {first_line(error)}") from error

    def _names(self, i: int) -> list[str]:
        if len(self._inputs) == 1:
            return [f"b{i}"]
        return [f"b{i}_in{k}" for k in range(len(self._inputs))]


def require_meaning(batches: Iterator[Batch]) -> tuple[Batch, list[str]]:
    """The first batch, and what the user should know of all.

    Raises StageError for batches that are empty, not finite, or zero throughout.
    """
    first: Batch | None = None
    is_zero: dict[str, bool] = {}
    sizes: list[int] = []
    notes = []
    for i, batch in enumerate(batches):
        first = batch if first is None else first
        sizes.append(example_count(batch))
        for name, array in batch.items():
            _require_numbers(i, name, array)
            zero = not array.any()
            is_zero[name] = is_zero.get(name, True) and zero
            if zero:
                notes.append(f"calibration batch {i} of {name} is zero throughout: it counts as much as any other")
    if first is None:
        raise _meaningless("there are no calibration data", "at least one batch", "none")
    for name, zero in is_zero.items():
        if zero:
            raise _meaningless(f"the calibration data of {name} are zero throughout", "real data", "zeros alone")
    if len(set(sizes)) > 1:
        notes.append(f"the calibration batches have {min(sizes)} to {max(sizes)} examples; each counts the same")
    return first, notes


def channel_means(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel (of images, (N, H, W, C)) or of all values."""
    flat = array.reshape(-1, array.shape[-1] if array.ndim == 4 else 1).astype(np.float64)
    return flat.mean(axis=0), flat.std(axis=0)


def require_like(calibration: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Raises StageError where calibration data cannot be of the kind that the network is fed with.

    Both are examples by input. Each channel's mean has to lie within the other's spread, and the spreads within a
    factor: raw pixels, a preprocessing done twice and exchanged channels of different means do not.
    """
    for name, array in expected.items():
        mean, spread = channel_means(calibration[name])
        wanted, usual = channel_means(array)
        room = 2 * np.maximum(usual, usual.max() / 4)
        is_far = np.abs(mean - wanted) > room
        is_other = (spread > 4 * np.maximum(usual, usual.max() / 4)) | (4 * spread < usual)
        if usual.max() > 0 and (is_far | is_other).any():
            channel = int(np.argmax(is_far | is_other))
            raise StageError(
                f"the calibration data of {name} are not preprocessed as the network's input",
                expected=f"channel {channel}: a mean near {wanted[channel]:.4g}, a spread near {usual[channel]:.4g}",
                found=f"mean {mean[channel]:.4g}, spread {spread[channel]:.4g}",
                remedy="give raw images and let preprocess do it, or arrays that are preprocessed as in training",
                code="K2D-0010",
            )


def _require_numbers(i: int, name: str, array: np.ndarray) -> None:
    if array.dtype.kind not in "fiub":
        raise _meaningless(f"calibration batch {i} of {name} holds no numbers", "numbers", str(array.dtype))
    if not array.size:
        raise _meaningless(f"calibration batch {i} of {name} is empty", "at least one example", str(list(array.shape)))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(array.size - np.count_nonzero(np.isfinite(array)))
        raise _meaningless(f"calibration batch {i} of {name} is not finite", "numbers", f"{bad} NaN or infinite values")


def _meaningless(problem: str, expected: str, found: str) -> StageError:
    return StageError(
        problem,
        expected=f"{expected}; the vendor's tool takes this and reports success, with positions that mean nothing",
        found=found,
        remedy="give 100 to 1000 examples as the network sees them in use",
    )


def _unusable(path: Path, inputs: Sequence[str], found: str) -> ModelFileError:
    arrays = "b0, b1, ..." if len(inputs) == 1 else ", ".join(f"b0_in{k} ({name})" for k, name in enumerate(inputs))
    return ModelFileError(
        f"{path} holds no calibration batches for these inputs",
        expected=f"an .npz with a batch an array: {arrays}",
        found=found,
        remedy="numpy.savez('calib.npz', b0=..., b1=...), float arrays of the inputs' shapes",
    )
