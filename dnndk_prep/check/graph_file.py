"""Reads a binary GraphDef without TensorFlow, whose import takes longer than the whole check."""

from __future__ import annotations

import mmap
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from dnndk_prep.errors import ModelFileError
from dnndk_prep.wire import TENSOR_CONTENT, lean, varint

FIELD = descriptor_pb2.FieldDescriptorProto
PACKAGE = "dnndk_prep_graph"
# Message: field, number in TensorFlow's own .proto files, type (a scalar, or a message of this table), "*" where
# repeated. What the check never reads (functions, nested attributes) is left out: protobuf keeps it unread.
MESSAGES: dict[str, tuple[str, ...]] = {
    "VersionDef": ("producer 1 int32",),
    "GraphDef": ("node 1 *NodeDef", "versions 4 VersionDef", "library 2 bytes"),
    "NodeDef": ("name 1 string", "op 2 string", "input 3 *string", "attr 5 *AttrEntry"),
    # A map field is, on the wire, a repeated message of key and value.
    "AttrEntry": ("key 1 string", "value 2 AttrValue"),
    "AttrValue": (
        "list 1 ListValue",
        "s 2 bytes",
        "i 3 int64",
        "f 4 float",
        "b 5 bool",
        "type 6 int32",
        "shape 7 TensorShapeProto",
        "tensor 8 TensorProto",
    ),
    "ListValue": ("s 2 *bytes", "i 3 *int64", "f 4 *float", "b 5 *bool", "type 6 *int32"),
    "TensorShapeProto": ("dim 2 *Dim", "unknown_rank 3 bool"),
    "Dim": ("size 1 int64",),
    "TensorProto": (
        "dtype 1 int32",
        "tensor_shape 2 TensorShapeProto",
        "tensor_content 4 bytes",
        "half_val 13 *int32",
        "float_val 5 *float",
        "double_val 6 *double",
        "int_val 7 *int32",
        "int64_val 10 *int64",
        "bool_val 11 *bool",
        # Not TensorFlow's: where the numbers were left in the file, see LEFT_OUT.
        "left_out 1000 bool",
    ),
}
SCALARS = {
    name: getattr(FIELD, f"TYPE_{name.upper()}")
    for name in ["int32", "int64", "float", "double", "bool", "string", "bytes"]
}
# The numbers of tensorflow/core/framework/types.proto; any other dtype is shown by its number.
DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    19: "float16",
    20: "resource",
    22: "uint32",
    23: "uint64",
}
VALUES = {"float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val"}

# Stands in the place of large numbers: no rule of the check looks into weights, and reading hundreds of MiB takes
# longer than all of it.
LEFT_OUT = varint(1000 << 3) + varint(1)


def read_graph_file(path: Path) -> Any:
    """The GraphDef in `path`, as a message with the fields of MESSAGES; constants above LARGE bytes without numbers.

    Raises ModelFileError if the file is not there or is no binary GraphDef.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _message("GraphDef").FromString(lean(data, 0, len(data), TENSOR_CONTENT, lambda *place: LEFT_OUT))
    # mmap: ValueError for an empty file.
    except (OSError, ValueError, LookupError, DecodeError) as error:
        raise ModelFileError(
            f"{path} cannot be read", expected="a frozen graph (binary GraphDef)", found=str(error)
        ) from error


def dtype_name(number: int) -> str:
    """The numpy name of a TensorFlow dtype; a reference (number + 100) is its plain dtype."""
    return DTYPES.get(number % 100, f"dtype {number}")


def sizes(proto: Any) -> tuple[int | None, ...] | None:
    """A TensorShapeProto as numbers, None for a free one; None where the rank is free, too."""
    if proto.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else int(dim.size) for dim in proto.dim)


def array(tensor: Any) -> np.ndarray:
    """The value of a TensorProto of numbers; it is copied once. Raises ModelFileError where its size is not told."""
    name, shape = dtype_name(tensor.dtype), sizes(tensor.tensor_shape)
    if shape is None or None in shape or not _is_number(name):
        raise ModelFileError(f"a constant of {name} has no value that can be read", found=str(shape))
    whole = tuple(size or 0 for size in shape)
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, name).reshape(whole)
    if name == "float16":
        given = np.array(tensor.half_val, np.uint16).view(np.float16)
    else:
        given = np.array(getattr(tensor, VALUES.get(name, "int_val")), name)
    if given.size == 0:
        return np.zeros(whole, name)
    # The last number stands for all that follow it: so TensorFlow writes constants of one value.
    missing = max(0, int(np.prod(whole)) - given.size)
    return np.concatenate([given, np.repeat(given[-1:], missing)]).reshape(whole)


def _is_number(name: str) -> bool:
    return name in DTYPES.values() and name not in ("string", "resource", "bfloat16")


@cache
def _message(name: str) -> Any:
    """The class of a message, from a pool of its own: TensorFlow's, in the same process, is not touched."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_file().SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=f"{PACKAGE}.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields:
            field, number, kind = text.split()
            repeated, kind = kind.startswith("*"), kind.removeprefix("*")
            made = message.field.add(name=field, number=int(number), type=SCALARS.get(kind, FIELD.TYPE_MESSAGE))
            made.label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
            if kind not in SCALARS:
                made.type_name = f".{PACKAGE}.{kind}"
    # Which one of its values an attribute has can be told only where they are a oneof.
    one_of = next(message for message in file.message_type if message.name == "AttrValue")
    one_of.oneof_decl.add(name="value")
    for made in one_of.field:
        made.oneof_index = 0
    return file
