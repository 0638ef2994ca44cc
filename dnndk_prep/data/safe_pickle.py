"""Reads pickles of plain data and numpy arrays, and nothing else: a pickle can name any function to call.

Nothing of numpy is called by the pickle either: where it asks for an array, it gets a record of the array's parts, and
the array is built from that record afterwards, for plain numbers and lists only.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dnndk_prep.errors import ModelFileError, UnsafeFileError


def load_pickle(path: Path) -> Any:
    """The content of the pickle file `path`; text of Python 2 comes as bytes.

    Raises UnsafeFileError if it wants anything but plain data, and ModelFileError if it is missing or broken.
    """
    return _unpickle(_read(path), str(path))


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz, those of Python objects (lists of numbers) included.

    Raises UnsafeFileError if an object array wants anything but plain data, and ModelFileError if the file is broken.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(_read(path))) as archive:
            members = {info.filename.removesuffix(".npy"): archive.read(info) for info in archive.infolist()}
        return {name: _array(blob, f"{path} ({name})") for name, blob in members.items()}
    except (zipfile.BadZipFile, EOFError, ValueError, OSError) as error:
        raise ModelFileError(f"{path} cannot be read", expected="an .npz file", found=str(error)) from error


class _ArrayRecord:
    """What a pickle says about an array, before an array is made of it."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state

    def build(self) -> np.ndarray:
        dtype = self.dtype.build()
        if dtype.hasobject:
            flat = np.empty(len(self.data), object)
            flat[:] = self.data
        else:
            flat = np.frombuffer(_as_bytes(self.data), dtype)
        if math.prod(self.shape) != len(flat):
            raise ValueError(f"an array of shape {self.shape} with {len(flat)} values")
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


class _DtypeRecord:
    """What a pickle says about a dtype: a code such as "u1" and a byte order."""

    def __init__(self, code: str | bytes, *_: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def build(self) -> np.dtype:
        code, order = _as_text(self.code), _as_text(self.order)
        if code[:1] not in ("b", "i", "u", "f", "O") or not code[1:].isdigit() or order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError(f"an array of {code!r} in byte order {order!r}")
        return np.dtype(object) if code[0] == "O" else np.dtype(order + code)


class _Marker:
    """Stands for a class that a pickle may name but not use."""


def _reconstruct(*_: Any) -> _ArrayRecord:
    return _ArrayRecord()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    # Pickles of protocol 2 spell bytes as _codecs.encode(text, "latin1").
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Marker,
    ("numpy", "dtype"): _DtypeRecord,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _RefusedError(f"{module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise _RefusedError(f"a persistent object {pid!r}")


class _RefusedError(Exception):
    """A pickle named something that is not plain data."""


def _unpickle(blob: bytes, source: str) -> Any:
    stream = io.BytesIO(blob)
    try:
        return _built(_Unpickler(stream, encoding="bytes").load())
    except _RefusedError as error:
        raise UnsafeFileError(
            f"{source} is refused: its pickle calls {error}",
            expected="a pickle of numbers, bytes, lists, dicts and numpy arrays",
            found=str(error),
            remedy="take the dataset from its publisher",
        ) from error
    except Exception as error:  # A broken pickle can raise nearly anything.
        raise ModelFileError(
            f"{source} cannot be read",
            expected="a whole pickle of plain data",
            found=f"{type(error).__name__}: {error}",
        ) from error


def _built(value: Any) -> Any:
    """`value` with arrays for records: at the top and in the containers that datasets use."""
    if isinstance(value, _ArrayRecord):
        return value.build()
    if isinstance(value, dict):
        return {key: _built(item) for key, item in value.items()}
    return value


def _array(blob: bytes, source: str) -> np.ndarray:
    stream = io.BytesIO(blob)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    if not dtype.hasobject:
        return np.lib.format.read_array(io.BytesIO(blob), allow_pickle=False)
    content = _unpickle(blob[stream.tell() :], source)
    if not isinstance(content, np.ndarray) or content.shape != shape:
        raise ModelFileError(
            f"{source} cannot be read", expected=f"an array of shape {shape}", found=str(type(content))
        )
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read", expected="a file", found=error.strerror or str(error)) from error


def _as_bytes(value: bytes | str) -> bytes:
    return value.encode("latin1") if isinstance(value, str) else value


def _as_text(value: bytes | str) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else value
