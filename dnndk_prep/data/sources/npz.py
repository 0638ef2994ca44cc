"""Arrays in an .npz: x_train, y_train, x_test, y_test, or x_train_<input> and x_test_<input> for several inputs."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dnndk_prep.data.parts import ONLY_INPUT, ArrayPart, is_image_array
from dnndk_prep.data.sources import Dataset
from dnndk_prep.errors import ModelFileError, UnsafeFileError, nearest
from dnndk_prep.said import NO_ARRAYS, first_line

# What no array of examples packs as well as, but zeros do.
LARGE, PACKED = 2**30, 200


def open_npz(path: Path) -> Dataset:
    """Images are uint8 (N, H, W, 1 or 3); anything else is fed as float32 as it stands.

    Labels are class numbers (N,) or (N, 1), or uint8 class maps (N, H, W); both y arrays may be left out.
    Raises ModelFileError for missing, unknown or unfitting arrays, UnsafeFileError for arrays of Python objects.
    """
    arrays = read_arrays(path)
    parts = {part: _part(path, arrays, part) for part in ("train", "test")}
    train, test = parts["train"], parts["test"]
    known = {_key("x", part, name) for part in parts for name in parts[part].input_names} | {"y_train", "y_test"}
    unknown = sorted(set(arrays) - known)
    if unknown or train.input_names != test.input_names or ("y_train" in arrays) != ("y_test" in arrays):
        hint = nearest(unknown[0], known - set(arrays)) if unknown else []
        raise ModelFileError(
            f"the arrays of {path} do not go together",
            expected="x_train, y_train, x_test, y_test, or x_train_<input> and x_test_<input> for each input",
            found=", ".join(arrays),
            remedy=f"rename {unknown[0]} to {hint[0]}" if hint else "rename or add arrays",
        )
    maps = train.has_masks or train.labels is None
    classes = () if maps or train.labels is None else tuple(str(i) for i in range(int(train.labels.max()) + 1))
    return Dataset("npz", train, test, classes)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of the .npz `path`; UnsafeFileError for arrays of Python objects, ModelFileError if it is broken."""
    try:
        with np.load(path, allow_pickle=False) as content:
            if not isinstance(content, np.lib.npyio.NpzFile):
                raise ModelFileError(f"{path} is not an .npz", expected="named arrays (numpy.savez)", found="one array")
            for member in content.zip.infolist() if content.zip else ():
                _require_no_bomb(path, member)
            return {name: content[name] for name in content.files}
    except ModelFileError:
        raise
    except NO_ARRAYS as error:
        if "allow_pickle" in str(error):
            raise UnsafeFileError(
                f"{path} is refused: it holds pickled Python objects",
                expected="arrays of numbers",
                found=str(error),
                remedy="save arrays of numbers of one shape",
            ) from error
        raise ModelFileError(f"{path} cannot be read", expected="an .npz file", found=first_line(error)) from error


def _require_no_bomb(path: Path, member: zipfile.ZipInfo) -> None:
    if member.file_size > LARGE and member.file_size > PACKED * member.compress_size:
        raise UnsafeFileError(
            f"{path} is refused: it may fill the memory",
            expected=f"arrays of at most {LARGE >> 30} GiB, or of at most {PACKED} times what they take in the file",
            found=f"{member.filename}: {member.compress_size} bytes that unpack to {member.file_size}",
            remedy="if that is meant, save it unpacked: numpy.savez",
        )


def checked_inputs(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ModelFileError unless all arrays are finite numbers with the same count of examples, at least one."""
    count = len(next(iter(arrays.values()))) if all(array.ndim for array in arrays.values()) else 0
    for name, array in arrays.items():
        if not count or len(array) != count:
            raise _wrong(path, name, f"{count or 'one or more'} examples", f"shape {array.shape}")
        if array.dtype.kind not in "buif":
            raise _wrong(path, name, "numbers", str(array.dtype))
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise _wrong(path, name, "finite numbers", "NaN or infinity")
        if array.dtype == np.uint8 and array.ndim == 4 and not is_image_array(array):
            raise _wrong(path, name, "1 or 3 channels for images (uint8, N x H x W x C)", f"shape {array.shape}")


def _part(path: Path, arrays: Mapping[str, np.ndarray], part: str) -> ArrayPart:
    several = {name.removeprefix(f"x_{part}_"): a for name, a in arrays.items() if name.startswith(f"x_{part}_")}
    single = arrays.get(f"x_{part}")
    if (single is None) == (not several):
        raise ModelFileError(
            f"{path} has no clear inputs for the {part} part",
            expected=f"either x_{part} or x_{part}_<input name> for each input",
            found=", ".join(arrays) or "no array",
            remedy="save the arrays under these names (numpy.savez)",
        )
    inputs = several if single is None else {ONLY_INPUT: single}
    checked_inputs(path, {_key("x", part, name): array for name, array in inputs.items()})
    count = len(next(iter(inputs.values())))
    labels = arrays.get(f"y_{part}")
    if labels is None:
        return ArrayPart(inputs)
    if labels.dtype == np.uint8 and labels.shape[:1] == (count,) and labels.ndim == 3:
        return ArrayPart(inputs, masks=labels)
    if labels.dtype.kind not in "iu" or labels.shape not in ((count,), (count, 1)) or labels.min() < 0:
        raise _wrong(
            path,
            f"y_{part}",
            f"{count} class numbers (integers from 0), or uint8 class maps {count} x H x W",
            f"{labels.dtype} {labels.shape}",
        )
    return ArrayPart(inputs, labels.reshape(count).astype(np.int64))


def _key(kind: str, part: str, name: str) -> str:
    return f"{kind}_{part}_{name}" if name else f"{kind}_{part}"


def _wrong(path: Path, name: str, expected: str, found: str) -> ModelFileError:
    return ModelFileError(
        f"{name} in {path} cannot be used", expected=expected, found=found, remedy="save the array in this form"
    )
