"""A graph as plain nodes, whose constants are arrays: what the quantizers' rules work on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.topology import node_of
from dnndk_prep.graph.weights import ALIGNMENT, constant, room, value_of
from dnndk_prep.wire import LARGE

FLOAT = tf.float32.as_datatype_enum
INT32 = tf.int32.as_datatype_enum
# The value of an attribute: a truth value, a number, a text, whole numbers, or a tf.DType.
Plain = Any


@dataclass(frozen=True)
class Node:
    """One node; `value` is the array of a Const, which then has no attribute of that name."""

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attrs: Mapping[str, AttrValue] = None  # type: ignore[assignment]
    value: np.ndarray | None = None
    device: str = ""

    def __post_init__(self) -> None:
        if self.attrs is None:
            object.__setattr__(self, "attrs", {})
        if self.value is not None and self.value.nbytes > LARGE and self.value.ctypes.data % ALIGNMENT:
            # Where TensorFlow computes with it as it lies: nothing that is made of the graph copies it again.
            place = room(self.value.shape, self.value.dtype)
            place[...] = self.value
            object.__setattr__(self, "value", place)

    @property
    def array(self) -> np.ndarray:
        """The value of a Const. Raises TypeError for any other node."""
        if self.value is None:
            raise TypeError(f"{self.name} is no constant")
        return self.value

    @property
    def input(self) -> tuple[str, ...]:
        """The inputs under the name that protobufs have, for walks over graphs of either kind."""
        return self.inputs

    @property
    def sources(self) -> list[str]:
        """The nodes that are read, without those that are only waited for."""
        return [node_of(name) for name in self.inputs if not name.startswith("^")]

    @property
    def is_float(self) -> bool:
        """Whether the quantizer takes it for float32: by `dtype`, else by `T`; yes where neither is."""
        kind = self.attrs.get("dtype") or self.attrs.get("T")
        return kind is None or kind.type == FLOAT

    def reading(self, *inputs: str) -> Node:
        """The same node with other inputs."""
        return replace(self, inputs=inputs)

    def holding(self, value: np.ndarray) -> Node:
        """The same constant with another value."""
        return replace(self, value=value)


def node(name: str, op: str, *inputs: str, **attrs: Plain) -> Node:
    """A node that computes with float32."""
    return Node(name, op, inputs, {"T": attribute(tf.float32), **{k: attribute(v) for k, v in attrs.items()}})


def const(name: str, value: np.ndarray) -> Node:
    """A constant."""
    return Node(name, "Const", (), {"dtype": attribute(tf.as_dtype(value.dtype))}, value)


def attribute(value: Plain) -> AttrValue:
    """The protobuf of an attribute."""
    if isinstance(value, tf.DType):
        return AttrValue(type=value.as_datatype_enum)
    if isinstance(value, bool):
        return AttrValue(b=value)
    if isinstance(value, int):
        return AttrValue(i=value)
    if isinstance(value, float):
        return AttrValue(f=value)
    if isinstance(value, str):
        return AttrValue(s=value.encode())
    return AttrValue(list=AttrValue.ListValue(i=value))


def from_graph_def(graph_def: GraphDef) -> list[Node]:
    """The nodes of a graph in their order."""
    return [_from_def(item) for item in graph_def.node]


def to_graph_def(nodes: Iterable[Node], like: GraphDef | None = None) -> GraphDef:
    """A graph of the nodes, with the function library of `like`; without versions, as the quantizer writes it."""
    result = GraphDef()
    if like is not None and like.library.function:
        result.library.CopyFrom(like.library)
    result.node.extend(to_def(item) for item in nodes)
    return result


def to_def(item: Node) -> NodeDef:
    """The protobuf of a node."""
    made = constant(item.name, item.value) if item.value is not None else NodeDef(name=item.name, op=item.op)
    made.input.extend(item.inputs)
    made.device = item.device
    for key, value in item.attrs.items():
        made.attr[key].CopyFrom(value)
    return made


def by_name(nodes: Iterable[Node]) -> dict[str, Node]:
    """The nodes by name, in their order."""
    return {item.name: item for item in nodes}


def readers_of(nodes: Iterable[Node]) -> dict[str, list[Node]]:
    """For each name, the nodes that read it, as often as they do."""
    found: dict[str, list[Node]] = {}
    for item in nodes:
        for name in item.inputs:
            found.setdefault(node_of(name), []).append(item)
    return found


def shapes_of(nodes: Sequence[Node], fed: Mapping[str, Sequence[int | None]]) -> Tools:
    """What tells the static shapes; `fed` gives placeholders the sizes that they leave open."""
    graph_def = to_graph_def(nodes)
    for item in graph_def.node:
        if item.op == "Placeholder" and item.name in fed:
            known = tf.TensorShape(item.attr["shape"].shape if "shape" in item.attr else None)
            given = tf.TensorShape(fed[item.name])
            shape = known.merge_with(given) if known.is_compatible_with(given) else known
            item.attr["shape"].shape.CopyFrom(shape.as_proto())
    return Tools(graph_def)


def _from_def(item: NodeDef) -> Node:
    value = value_of(item) if item.op == "Const" else None
    # Shapes that some tool noted would be wrong once something changes.
    left_out = ("_output_shapes", "value") if item.op == "Const" else ("_output_shapes",)
    attrs = {}
    for key in item.attr:
        if key not in left_out:
            # A copy: an attribute of the graph would keep all of the graph in memory.
            attrs[key] = AttrValue()
            attrs[key].CopyFrom(item.attr[key])
    return Node(item.name, item.op, tuple(item.input), attrs, value, item.device)
