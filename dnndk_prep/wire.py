"""The bytes of a GraphDef, walked over without parsing them (protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

# The fields on the way to the numbers of a constant: GraphDef.node, NodeDef.attr, its value, AttrValue.tensor,
# TensorProto.tensor_content (graph.proto, node_def.proto, attr_value.proto, tensor.proto).
TENSOR_CONTENT = (1, 5, 2, 8, 4)
# Bytes from which the numbers of a constant are large: nobody infers anything from so many.
LARGE = 2**16
# No message, and so no graph, can be larger: protobuf's limit.
MAX_BYTES = 2**31 - 1

DELIMITED = 2
# How many bytes a number of fixed length has, by its wire type.
FIXED = {1: 8, 5: 4}


class Bytes(Protocol):
    """What can be walked over: bytes, or a file that is mapped into memory."""

    def __getitem__(self, place: slice, /) -> bytes: ...


def head(number: int, size: int) -> bytes:
    """What stands before a field of bytes or a message: its number, its type and its length."""
    return varint(number << 3 | DELIMITED) + varint(size)


def varint(value: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def fields(data: Bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """The fields of the message in data[start:end]: number, wire type, where it starts, its content, and its end.

    Raises ValueError where the bytes are no message.
    """
    while start < end:
        tag, content = _read_varint(data, start)
        kind = tag & 7
        if kind == DELIMITED:
            size, content = _read_varint(data, content)
            stop = content + size
        elif kind == 0:
            stop = _read_varint(data, content)[1]
        elif kind in FIXED:
            stop = content + FIXED[kind]
        else:
            raise ValueError(f"wire type {kind} at byte {start}")
        if stop > end:
            raise ValueError(f"the field at byte {start} goes beyond its message")
        yield tag >> 3, kind, start, content, stop
        start = stop


def lean(data: Bytes, start: int, end: int, path: Sequence[int], stand_in: Callable[[int, int], bytes]) -> bytes:
    """The message in data[start:end] with other fields for the large ones that the numbers of `path` lead to.

    stand_in: the field, whole, for one whose content is data[start:end]. Raises ValueError where the bytes are no
    message.
    """
    parts: list[bytes] = []
    for number, kind, begin, content, stop in fields(data, start, end):
        if number != path[0] or kind != DELIMITED or stop - content <= LARGE:
            parts.append(data[begin:stop])
        elif len(path) == 1:
            parts.append(stand_in(content, stop))
        else:
            inner = lean(data, content, stop, path[1:], stand_in)
            parts += [head(number, len(inner)), inner]
    return b"".join(parts)


def _read_varint(data: Bytes, start: int) -> tuple[int, int]:
    """The number at `start`, and the place behind it."""
    value = 0
    # Ten bytes hold 64 bits, the most that a number has.
    for i, byte in enumerate(data[start : start + 10]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, start + i + 1
    raise ValueError(f"no number at byte {start}")
