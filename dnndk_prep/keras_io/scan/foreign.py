"""Files that people give in place of a Keras model: what each is, told by its content, and what to give instead."""

from __future__ import annotations

import bz2
import lzma
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dnndk_prep.errors import ModelFileError

HEAD = 4096
# The last eight bytes of a table of LevelDB, which is what the index of a checkpoint and a checkpoint before
# TensorFlow 1.0 are.
TABLE_END = bytes.fromhex("57fb808b247547db")
DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")
# PyTorch's own number, which its files begin with that are no archives.
TORCH_NUMBER = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# HDF5, a zip archive (.keras), and the beginning of an architecture.
MODEL = re.compile(rb"\x89HDF\r\n\x1a\n|PK\x03\x04|\s*\{")

EXPORT_AGAIN = "save the model in Keras: model.save('model.h5')"
UNPACK = "unpack it first, and give the file that comes out"
CHECKPOINT = (
    "give the graph as model.path (.pb, .pbtxt or .meta) and the checkpoint as model.checkpoint; or put its weights"
    " into the Keras model: dnndk-prep ckpt2keras CHECKPOINT --model model.json --out model.h5"
)


@dataclass(frozen=True)
class Foreign:
    """What a file is, and what to do about it."""

    what: str
    remedy: str = EXPORT_AGAIN

    def error(self, path: Path) -> ModelFileError:
        """The error that says so of the file at `path`."""
        return ModelFileError(
            f"{path} is {self.what}",
            expected="an HDF5 file (.h5) or a .keras archive that holds architecture and weights",
            found=self.what,
            remedy=self.remedy,
        )


PICKLE = Foreign("a pickled Python object, which runs code when it is opened; it is not opened")
TORCH = Foreign("a PyTorch file", "convert the model to Keras, and save it there: model.save('model.h5')")
A_CHECKPOINT = Foreign("a TensorFlow checkpoint: weights without a graph", CHECKPOINT)

# The beginning of a file, at most HEAD bytes -> what it is; the first that fits counts.
BEGINNINGS: Sequence[tuple[re.Pattern[bytes], Foreign]] = [
    (re.compile(rb"\x80[\x02-\x05]" + re.escape(TORCH_NUMBER)), TORCH),
    (re.compile(rb"\x80[\x02-\x05]"), PICKLE),
    (
        re.compile(rb"(?s).{4}TFL[23]"),
        Foreign("a TensorFlow Lite model, whose weights may be rounded already", "give the Keras model it came from"),
    ),
    # Its first fields: the version of the format (3 - 31), then the name of the program that wrote it, as text.
    (
        re.compile(rb"\x08[\x03-\x1f]\x12[\x01-\x40][A-Za-z]"),
        Foreign("an ONNX model", "give the Keras model or the TensorFlow graph it came from"),
    ),
    (re.compile(rb"(model_checkpoint_path|all_model_checkpoint_paths): "), A_CHECKPOINT),
    (
        re.compile(rb"(backend|class_name|config|keras_version): *[\w!{]|!!python/"),
        Foreign("an architecture as YAML", "write it as JSON: open('model.json', 'w').write(model.to_json())"),
    ),
    (re.compile(rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|\x28\xb5\x2f\xfd"), Foreign("a packed archive", UNPACK)),
]
# The beginning of a packed file -> its name, and what makes an object that unpacks a part of it.
PACKERS: Mapping[bytes, tuple[str, Callable[[], object]]] = {
    b"\x1f\x8b": ("gzip", lambda: zlib.decompressobj(wbits=31)),
    b"BZh": ("bzip2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\0": ("xz", lzma.LZMADecompressor),
}
# Members of zip archives that are no .keras -> what such an archive is; the first that fits counts.
ZIPPED: Sequence[tuple[re.Pattern[str], Foreign]] = [
    (re.compile(r"(.*/)?data\.pkl"), TORCH),
    (re.compile(r"(.*/)?saved_model\.pb(txt)?"), Foreign("a zip archive of a SavedModel", UNPACK)),
    (re.compile(r"[^/]*\.npy"), Foreign("an archive of numpy arrays (.npz)")),
    (re.compile(r".*\.(h5|hdf5|keras)"), Foreign("a zip archive with a model inside", UNPACK)),
    (re.compile(r"word/.*|xl/.*"), Foreign("a document")),
]


def what_is(path: Path) -> Foreign | None:
    """What the plain file at `path` is, if it is of a kind that people take for a model; only a part of it is read."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(os.fstat(file.fileno()).st_size - len(TABLE_END), 0))
        end = file.read(len(TABLE_END))
    if end == TABLE_END or DATA.search(path.name):
        return A_CHECKPOINT
    for beginning, (name, unpacker) in PACKERS.items():
        if head.startswith(beginning):
            return _packed(name, unpacker(), head)
    if _is_tar(head):
        return Foreign("a tar archive", UNPACK)
    return next((kind for pattern, kind in BEGINNINGS if pattern.match(head)), None)


def what_is_zipped(names: Sequence[str]) -> Foreign | None:
    """What a zip archive with these members is, if it is no .keras archive but of a kind that people take for one."""
    return next((kind for pattern, kind in ZIPPED if any(pattern.fullmatch(name) for name in names)), None)


def checkpoint_at(path: Path) -> Foreign | None:
    """Whether `path` is what TensorFlow calls a checkpoint: the beginning of its files' names, or their folder."""
    if path.is_dir():
        return A_CHECKPOINT if (path / "checkpoint").is_file() else None
    return A_CHECKPOINT if not path.exists() and path.with_name(f"{path.name}.index").is_file() else None


def _packed(name: str, unpacker: object, head: bytes) -> Foreign:
    try:
        # A part of a part: what it unpacks to does not matter.
        inside = unpacker.decompress(head, HEAD)  # type: ignore[attr-defined]
    except (zlib.error, OSError, EOFError, lzma.LZMAError):
        inside = b""
    if _is_tar(inside):
        return Foreign(f"a tar archive, packed by {name}", UNPACK)
    return Foreign(f"a {'model file' if MODEL.match(inside) else 'file'}, packed by {name}", UNPACK)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"
