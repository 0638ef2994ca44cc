"""Reads TensorFlow checkpoints of any origin, and says in one error what is wrong with those that cannot be read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from dnndk_prep.errors import ModelFileError

# What TensorFlow's reader raises for files that are cut or garbled: it translates its own errors by their texts
# (py_checkpoint_reader.py), and asks for as much memory as a size in the file says.
UNREADABLE = (ValueError, RuntimeError, IndexError, TypeError, KeyError, MemoryError, DecodeError, tf.errors.OpError)


class CheckpointReader:
    """The tensors of the checkpoint with the prefix `prefix`: `shapes` and `dtypes` by key.

    Raises ModelFileError where there is no whole checkpoint that can be read.
    """

    def __init__(self, prefix: Path) -> None:
        self._prefix, self._own = prefix, str(prefix)
        with self.told():
            self._kept, self._own = _beside_its_index(prefix)
            self._reader = tf.train.load_checkpoint(self._own)
            self.shapes = {key: tuple(shape) for key, shape in self._reader.get_variable_to_shape_map().items()}
            self.dtypes: dict[str, tf.DType] = self._reader.get_variable_to_dtype_map()

    def tensor(self, key: str) -> Any:
        """The array stored under a key; bytes where it is a string."""
        with self.told():
            return self._reader.get_tensor(key)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Inside, whatever means that the files are not what they should be becomes the one ModelFileError."""
        try:
            yield
        except (*UNREADABLE, OSError) as error:
            words = (str(error).splitlines() or [""])[0].replace(self._own, str(self._prefix))
            raise _unreadable(self._prefix, words or type(error).__name__) from error


def _beside_its_index(prefix: Path) -> tuple[tempfile.TemporaryDirectory[str] | None, str]:
    """A folder with a copy of the index and links to the data, and its prefix; None and the prefix without an index.

    TensorFlow (2.21) crashes where it can open an index and then not read it.
    """
    index = Path(f"{prefix}.index")
    if not index.is_file():
        return None, str(prefix)
    kept = tempfile.TemporaryDirectory(prefix="dnndk_prep_")
    own = str(Path(kept.name) / "checkpoint")
    Path(f"{own}.index").write_bytes(index.read_bytes())
    for path in prefix.parent.iterdir():
        if path.name.startswith(f"{prefix.name}.data-"):
            Path(f"{own}{path.name.removeprefix(prefix.name)}").symlink_to(path.resolve())
    return kept, own


def _unreadable(prefix: Path, words: str) -> ModelFileError:
    near = sorted(path.name for path in prefix.parent.glob("*.index")) if prefix.parent.is_dir() else []
    return ModelFileError(
        f"{prefix} is not a checkpoint that can be read",
        expected="the common beginning of .index and .data-00000-of-00001, for example ./tf_chkpt.ckpt",
        found=f"{words[:300]}; in the folder: {', '.join(near) or 'no .index'}",
        remedy="correct the path, or copy the checkpoint again with all its files",
    )
