"""Which kind of TensorFlow file lies at a path, told by its content and without TensorFlow; where its checkpoint is."""

from __future__ import annotations

import glob
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dnndk_prep.errors import ModelFileError

GRAPH, META, SAVED_MODEL = "graph", "meta", "saved_model"
# A name decides only where the content does not: a file that is cut short is still meant as a graph.
SUFFIXES = {".pb": GRAPH, ".pbtxt": GRAPH, ".meta": META}
# The first field of each message in the text form of protobuf.
TEXT = {
    GRAPH: rb"node|library|versions",
    META: rb"meta_info_def|graph_def|saver_def|collection_def|signature_def",
    SAVED_MODEL: rb"saved_model_schema_version|meta_graphs",
}
OP_NAME = re.compile(rb"[A-Za-z0-9_.>\-]+")
VARINT, LENGTH = 0, 2
# Bytes that a number of another wire type takes.
SIZES = {1: 8, 5: 4}
HEAD = 4096


@dataclass(frozen=True)
class GraphFile:
    """A TensorFlow file: the protobuf itself, its kind, and whether it is written as text."""

    path: Path
    kind: str
    is_text: bool

    @property
    def variables(self) -> Path | None:
        """The prefix of the checkpoint that belongs to it by its place: beside a .meta, inside a SavedModel."""
        inside = self.path.parent / "variables" / "variables"
        prefix = inside if self.kind == SAVED_MODEL else self.path.with_suffix("")
        return prefix if self.kind != GRAPH and index_of(prefix).is_file() else None


def graph_file(path: Path) -> GraphFile | None:
    """What kind of TensorFlow file `path` is; None if it is none.

    A folder is one with a saved_model.pb or .pbtxt in it. A plain file is told by its first fields: a GraphDef, a
    MetaGraphDef or a SavedModel, binary or text.
    """
    if path.is_dir():
        found = [path / name for name in ("saved_model.pb", "saved_model.pbtxt") if (path / name).is_file()]
        return GraphFile(found[0], SAVED_MODEL, found[0].suffix == ".pbtxt") if found else None
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(HEAD)
        for kind, words in TEXT.items():
            if re.match(rb"(\s|#[^\n]*\n)*(" + words + rb")\s*[:{<]", head):
                return GraphFile(path, kind, True)
        binary = _binary_kind(file)
    if head.startswith((b"\x89HDF", b"PK\x03\x04")) or head.lstrip()[:1] in (b"{", b"["):
        return None
    meant = binary or SUFFIXES.get(path.suffix)
    return None if meant is None else GraphFile(path, meant, binary is None and path.suffix == ".pbtxt")


def checkpoint_prefix(path: Path) -> Path:
    """The prefix of a checkpoint that is named by itself, by its .index, or by a folder with the file `checkpoint`.

    Raises ModelFileError if there is no such checkpoint.
    """
    prefix = path.with_suffix("") if path.suffix in (".index", ".meta") else path
    if path.is_dir() and (path / "checkpoint").is_file():
        text = (path / "checkpoint").read_text(encoding="utf-8", errors="replace")
        latest = re.search(r'^model_checkpoint_path:\s*"([^"]+)"', text, re.MULTILINE)
        # A folder that was moved: the name of the file is what still counts.
        prefix = path / Path(latest[1]).name if latest else path
    if not index_of(prefix).is_file():
        near = sorted(file.name for file in prefix.parent.glob("*.index")) if prefix.parent.is_dir() else []
        raise ModelFileError(
            f"there is no checkpoint {path}",
            expected="the common beginning of .index and .data-00000-of-00001, for example ./model.ckpt-1000",
            found=", ".join(near[:5]) or "no .index file in the folder",
            remedy="correct model.checkpoint",
        )
    return prefix


def checkpoint_files(prefix: Path) -> list[Path]:
    """The files of a checkpoint."""
    return [index_of(prefix), *sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*"))]


def index_of(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")


def _binary_kind(file: BinaryIO) -> str | None:
    """By the numbers and types of the first fields; None where they are those of no message."""
    file.seek(0)
    first: bytes | None = None
    for number, wire, content in _fields(file):
        if number == 1 and wire == VARINT:
            # The schema's version, which is 1; an ONNX file begins with a number, too.
            return SAVED_MODEL if content == b"\x01" else None
        if number == 1 and first is None:
            if _is_node(content):
                return GRAPH
            first = content
        elif number == 2 and first is not None:
            return META
        elif number in (2, 4) and first is None:
            return GRAPH if number == 4 else META
        else:
            return None
    return None


def _is_node(content: bytes) -> bool:
    """Whether a message begins as a NodeDef does: its name, then its op; MetaInfoDef has a list of ops in its place."""
    fields = list(_fields(io.BytesIO(content)))
    ops = [value for number, wire, value in fields if number == 2 and wire == LENGTH]
    names = [value for number, wire, value in fields if number == 1 and wire == LENGTH]
    return bool(names and ops) and bool(OP_NAME.fullmatch(ops[0]))


def _fields(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Number, wire type and the first bytes of each field, as long as the bytes make sense; of a number its last."""
    while (tag := _varint(file)) is not None:
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value = _varint(file)
            if value is None:
                return
            yield number, wire, bytes([value & 0xFF])
        elif wire == LENGTH:
            length = _varint(file)
            if length is None:
                return
            content = file.read(min(length, HEAD))
            yield number, wire, content
            if len(content) < min(length, HEAD):
                return
            file.seek(length - len(content), io.SEEK_CUR)
        elif wire in SIZES:
            file.seek(SIZES[wire], io.SEEK_CUR)
            yield number, wire, b""
        else:
            return


def _varint(file: BinaryIO) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None
