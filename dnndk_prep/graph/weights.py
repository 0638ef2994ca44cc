"""Keeps large constants outside of their graphs: a protobuf of weights is copied as a whole by whatever touches it.

Inside `weights_apart`, a large Const that is made or read has a token where its numbers would be, and the numbers are
one array, which TensorFlow computes with as it lies there. What is written holds the numbers again.
"""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.framework.tensor_pb2 import TensorProto

from dnndk_prep.wire import LARGE, TENSOR_CONTENT, head, lean

Store = dict[bytes, np.ndarray]

# Shapes and indices, which are inferred from, stay in the graph.
DTYPES = (tf.float32.as_datatype_enum, tf.float64.as_datatype_enum)
# TensorFlow computes with an array in its place only if it begins at a multiple of this (EIGEN_MAX_ALIGN_BYTES).
ALIGNMENT = 64
# What each field on the way to the numbers is called below.
NODE, ATTR, VALUE, TENSOR, CONTENT = TENSOR_CONTENT

_apart: ContextVar[Store | None] = ContextVar("weights that lie apart", default=None)
_numbers = itertools.count()


@contextmanager
def weights_apart() -> Iterator[None]:
    """Large constants lie apart from here on; a graph that was made inside means nothing outside."""
    reset = _apart.set({})
    try:
        yield
    finally:
        _apart.reset(reset)


def constant(name: str, value: np.ndarray) -> NodeDef:
    """A Const node; arrays lie in it as plain bytes (tensor_content), large ones perhaps apart."""
    node = NodeDef(name=name, op="Const")
    dtype = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["dtype"].type = dtype
    store, tensor = _apart.get(), node.attr["value"].tensor
    if store is None or value.nbytes <= LARGE or dtype not in DTYPES:
        tensor.CopyFrom(tf.make_tensor_proto(value, shape=value.shape))
        return node
    tensor.dtype = dtype
    tensor.tensor_shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    tensor.tensor_content = _put(store, value)
    return node


def value_of(node: NodeDef) -> np.ndarray:
    """The numbers of a Const, wherever they lie; those that lie apart cannot be written to."""
    found = _found(node)
    return tf.make_ndarray(node.attr["value"].tensor) if found is None else found


def stand_ins(graph_def: GraphDef) -> tuple[GraphDef, dict[str, np.ndarray]]:
    """A copy of the graph with a Placeholder for each constant that lies apart, and what to feed by tensor name."""
    result, feeds = GraphDef(versions=graph_def.versions, library=graph_def.library), {}
    for node in graph_def.node:
        value = _found(node)
        if value is None:
            result.node.append(node)
            continue
        feeds[f"{node.name}:0"] = value
        placeholder = result.node.add(name=node.name, op="Placeholder", input=node.input, device=node.device)
        placeholder.attr["dtype"].CopyFrom(node.attr["dtype"])
        placeholder.attr["shape"].shape.CopyFrom(node.attr["value"].tensor.tensor_shape)
    return result, feeds


def whole(graph_def: GraphDef) -> GraphDef:
    """A copy of the graph with all numbers in it."""
    result = GraphDef()
    result.CopyFrom(graph_def)
    for node in result.node:
        if (value := _found(node)) is not None:
            node.attr["value"].tensor.tensor_content = value.tobytes()
    return result


def size_of(graph_def: GraphDef) -> int:
    """The bytes of the whole graph, but for a few of each constant that lies apart."""
    apart = [value.nbytes for node in graph_def.node if (value := _found(node)) is not None]
    return graph_def.ByteSize() + sum(apart)


def pieces(graph_def: GraphDef) -> Iterator[bytes | memoryview]:
    """The bytes of the whole graph in their order, no weight copied; the same for the same content."""
    for node in graph_def.node:
        value = _found(node)
        if value is None:
            text = node.SerializeToString(deterministic=True)
            yield head(NODE, len(text)) + text
        else:
            yield from _node_pieces(node, value)
    rest = GraphDef(version=graph_def.version)
    if graph_def.HasField("versions"):
        rest.versions.CopyFrom(graph_def.versions)
    if graph_def.HasField("library"):
        rest.library.CopyFrom(graph_def.library)
    yield rest.SerializeToString(deterministic=True)


def read(path: Path) -> GraphDef:
    """The graph in a file that was written here; its large constants lie apart where those of this place do."""
    store = _apart.get()
    if store is None:
        return GraphDef.FromString(path.read_bytes())
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:

        def apart(start: int, end: int) -> bytes:
            with memoryview(data) as everything, everything[start:end] as numbers:
                # A copy in any case: the bytes may lie in the file as they have to in memory, and the file is closed.
                place = room((len(numbers),), np.dtype(np.uint8))
                place[...] = np.frombuffer(numbers, np.uint8)
                token = _put(store, place)
            # The pages of the file would count as memory of this process.
            data.madvise(mmap.MADV_DONTNEED)
            return head(CONTENT, len(token)) + token

        graph_def = GraphDef.FromString(lean(data, 0, len(data), TENSOR_CONTENT, apart))
    for node in graph_def.node:
        for attribute in node.attr.values():
            if attribute.tensor.tensor_content in store:
                _settle(store, node, attribute.tensor)
    return graph_def


def room(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array without values that begins where TensorFlow wants it to."""
    size = prod(shape) * dtype.itemsize
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size].view(dtype).reshape(shape)


def _found(node: NodeDef) -> np.ndarray | None:
    if node.op != "Const" or not (store := _apart.get()):
        return None
    tensor = node.attr["value"].tensor
    # A large content is copied by looking at it.
    return store.get(tensor.tensor_content) if tensor.ByteSize() <= LARGE else None


def _put(store: Store, value: np.ndarray) -> bytes:
    """The token under which the store keeps the array, or a copy of it that TensorFlow can compute with."""
    token = f"lies apart: {next(_numbers)}".encode()
    if value.ctypes.data % ALIGNMENT or not value.flags.c_contiguous:
        place = room(value.shape, value.dtype)
        place[...] = value
        value = place
    store[token] = value.view()
    store[token].flags.writeable = False
    return token


def _settle(store: Store, node: NodeDef, tensor: TensorProto) -> None:
    """The bytes that were read become the array of a float Const; those of any other node go back into it."""
    token = tensor.tensor_content
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if node.op == "Const" and tensor.dtype in DTYPES:
        dtype = np.dtype(tf.as_dtype(tensor.dtype).as_numpy_dtype)
        if prod(shape) * dtype.itemsize == store[token].nbytes:
            store[token] = store[token].view(dtype).reshape(shape)
            return
    tensor.tensor_content = store.pop(token).tobytes()


def _node_pieces(node: NodeDef, value: np.ndarray) -> Iterator[bytes | memoryview]:
    numbers = value.reshape(-1).view(np.uint8).data
    plain = NodeDef()
    plain.CopyFrom(node)
    del plain.attr["value"]
    tensor = TensorProto()
    tensor.CopyFrom(node.attr["value"].tensor)
    tensor.ClearField("tensor_content")
    text = tensor.SerializeToString(deterministic=True) + head(CONTENT, len(numbers))
    # From the inside out: each message tells its length before its content.
    for number in (TENSOR, VALUE):
        text = head(number, len(text) + len(numbers)) + text
    # An entry of a map: its key is field 1. "value" is the last of a Const's attributes.
    text = head(1, len(b"value")) + b"value" + text
    text = plain.SerializeToString(deterministic=True) + head(ATTR, len(text) + len(numbers)) + text
    yield head(NODE, len(text) + len(numbers)) + text
    yield numbers
