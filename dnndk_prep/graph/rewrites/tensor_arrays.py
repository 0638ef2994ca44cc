"""Writes the lists of TensorFlow 2's loops as the arrays of TensorFlow 1, which every reader has.

Given:  TensorListReserve -> Enter -> Merge -> Switch -> TensorListSetItem -> NextIteration; Exit -> TensorListStack
Result: TensorArrayV3:1 -> Enter -> Merge -> Switch -> TensorArrayWriteV3 -> NextIteration; Exit -> TensorArrayGatherV3

Where a list was handed on, the array's flow is: a number by which its reads and writes wait for each other. A list of
one element, which each turn of a loop writes anew, is that element: an array takes one write for each place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import INT32, Tools
from dnndk_prep.graph.rewrites.orders import Places
from dnndk_prep.graph.topology import flag, node_of

SOURCES = ("TensorListReserve", "TensorListFromTensor")
WRITE, READ, STACK = "TensorListSetItem", "TensorListGetItem", "TensorListStack"
PLUMBING = ("Enter", "Merge", "Switch", "Exit", "NextIteration", "Identity")
# TensorFlow's own default, for a loop entered with a constant.
PARALLEL = 10
FLOAT32, VARIANT = tf.float32.as_datatype_enum, tf.variant.as_datatype_enum


def tensor_arrays(graph_def: GraphDef, keep: frozenset[str]) -> GraphDef:
    """The graph without lists; those that are used in other ways than recurrent layers do stay."""
    if not any(node.op in SOURCES for node in graph_def.node):
        return graph_def
    tools, places = Tools(graph_def, keep), Places(graph_def)
    new: dict[str, list[NodeDef]] = {}
    renamed: dict[str, str] = {}
    for members in _lists(graph_def):
        sources = [node for node in members if node.op in SOURCES]
        known = all(node.op in (*SOURCES, WRITE, READ, STACK, *PLUMBING) for node in members)
        if len(sources) != 1 or not known or any(node.name in keep for node in members):
            continue
        one = _List(tools, places, sources[0], members)
        if one.is_one_element:
            new |= {node.name: one.as_element(node) for node in members}
        else:
            new |= {node.name: one.as_array(node) for node in members}
            if one.source.op == "TensorListReserve":
                renamed[one.source.name] = f"{one.source.name}:1"
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        for made in new.get(node.name, [node]):
            copy = result.node.add()
            copy.CopyFrom(made)
    for node in result.node:
        for i, name in enumerate(node.input):
            # The handle of an array is its first output, which new nodes alone read, by `array:0`.
            node.input[i] = renamed.get(name, name)
    return result


def _lists(graph_def: GraphDef) -> list[list[NodeDef]]:
    """The nodes that give or take a list, by the list: what hands one on, writes into it or reads it."""
    group = {node.name: node.name for node in graph_def.node}

    def first(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    nodes = {node.name: node for node in graph_def.node}
    touching: dict[str, None] = {}
    for node in graph_def.node:
        for place, name in enumerate(node.input):
            if name.startswith("^") or not _gives_list(nodes[node_of(name)]) or not _takes_list(node, place):
                continue
            touching |= dict.fromkeys((node.name, node_of(name)))
            group[first(node.name)] = first(node_of(name))
    result: dict[str, list[NodeDef]] = {}
    for name in touching:
        result.setdefault(first(name), []).append(nodes[name])
    return list(result.values())


def _gives_list(node: NodeDef) -> bool:
    if node.op in PLUMBING:
        return node.attr["T"].type == VARIANT
    return node.op.startswith(("TensorList", "EmptyTensorList")) and node.op not in (READ, STACK)


def _takes_list(node: NodeDef, place: int) -> bool:
    # The condition of a Switch is none.
    return not (node.op == "Switch" and place == 1)


@dataclass(frozen=True)
class _List:
    """One list: its source, and all nodes that it goes through."""

    tools: Tools
    places: Places
    source: NodeDef
    members: list[NodeDef]

    @property
    def is_one_element(self) -> bool:
        if self.source.op != "TensorListReserve" or not _is(self.tools.value(self.source.input[1]), 1):
            return False
        writes = [node for node in self.members if node.op == WRITE]
        used = all(_is(self.tools.value(node.input[1]), 0) for node in writes)
        return bool(writes) and used and not any(node.op == READ for node in self.members)

    @property
    def dtype(self) -> int:
        return self.source.attr["element_dtype"].type

    def as_element(self, node: NodeDef) -> list[NodeDef]:
        if node.op in PLUMBING:
            return [_typed(node, self.dtype)]
        if node.op == "TensorListReserve":
            # Nobody sees it where the loop makes a turn.
            shape = self.tools.value(node.input[0])
            sizes = [max(int(size), 1) for size in shape.reshape(-1)] if shape is not None else []
            made = self.tools.const(node.name, np.zeros(sizes), tf.as_dtype(self.dtype).as_numpy_dtype)
            made.name = node.name
            return [made]
        if node.op == WRITE:
            made = NodeDef(name=node.name, op="Identity", input=[node.input[2]], device=node.device)
            made.attr["T"].type = self.dtype
            return [made]
        axis = self._const(node, "axis", 0)
        made = NodeDef(name=node.name, op="ExpandDims", input=[node.input[0], axis.name], device=node.device)
        made.attr["T"].type, made.attr["Tdim"].type = self.dtype, INT32
        return [axis, made]

    def as_array(self, node: NodeDef) -> list[NodeDef]:
        if node.op in PLUMBING:
            return [_typed(node, FLOAT32)]
        return {
            "TensorListReserve": self._reserved,
            "TensorListFromTensor": self._scattered,
            WRITE: self._written,
            READ: self._read,
            STACK: self._gathered,
        }[node.op](node)

    @property
    def _array(self) -> str:
        is_own = self.source.op == "TensorListReserve"
        return self.source.name if is_own else f"{self.source.name}/array"

    def _made_array(self, node: NodeDef, size: str) -> NodeDef:
        made = NodeDef(name=self._array, op="TensorArrayV3", input=[size], device=node.device)
        made.attr["dtype"].type = self.dtype
        shape = node.input[0] if node.op == "TensorListReserve" else node.input[1]
        made.attr["element_shape"].shape.CopyFrom(self._shape(shape).as_proto())
        made.attr["dynamic_size"].b = any(flag(one, "resize_if_index_out_of_bounds") for one in self.members)
        made.attr["clear_after_read"].b = made.attr["identical_element_shapes"].b = False
        made.attr["tensor_array_name"].s = b""
        return made

    def _shape(self, reference: str) -> tf.TensorShape:
        sizes = self.tools.value(reference)
        if sizes is None or sizes.ndim != 1:
            return tf.TensorShape(None)
        return tf.TensorShape([None if size < 0 else int(size) for size in sizes])

    def _reserved(self, node: NodeDef) -> list[NodeDef]:
        return [self._made_array(node, node.input[1])]

    def _scattered(self, node: NodeDef) -> list[NodeDef]:
        shape = self._node("Shape", node, "shape", [node.input[0]], T=self.dtype, out_type=INT32)
        begin, end, step = (self._const(node, f"part_{i}", [i]) for i in (0, 1, 1))
        first = [shape.name, begin.name, end.name, step.name]
        size = self._node("StridedSlice", node, "size", first, T=INT32, Index=INT32)
        size.attr["shrink_axis_mask"].i = 1
        array = self._made_array(node, size.name)
        indices = self._range(node, size.name)
        made = NodeDef(name=node.name, op="TensorArrayScatterV3", device=node.device)
        made.input.extend([f"{array.name}:0", indices[-1].name, node.input[0], f"{array.name}:1"])
        made.attr["T"].type = self.dtype
        return [shape, begin, end, step, size, array, *indices, made]

    def _written(self, node: NodeDef) -> list[NodeDef]:
        entered, handle = self._handle(node)
        made = NodeDef(name=node.name, op="TensorArrayWriteV3", device=node.device)
        made.input.extend([handle, node.input[1], node.input[2], node.input[0]])
        made.attr["T"].type = self.dtype
        return [*entered, made]

    def _read(self, node: NodeDef) -> list[NodeDef]:
        entered, handle = self._handle(node)
        made = NodeDef(name=node.name, op="TensorArrayReadV3", device=node.device)
        made.input.extend([handle, node.input[1], node.input[0]])
        made.attr["dtype"].type = self.dtype
        return [*entered, made]

    def _gathered(self, node: NodeDef) -> list[NodeDef]:
        entered, handle = self._handle(node)
        size = NodeDef(name=self.tools.free(f"{node.name}/size"), op="TensorArraySizeV3", input=[handle, node.input[0]])
        indices = self._range(node, size.name)
        made = NodeDef(name=node.name, op="TensorArrayGatherV3", device=node.device)
        made.input.extend([handle, indices[-1].name, node.input[0]])
        made.attr["dtype"].type = self.dtype
        made.attr["element_shape"].shape.CopyFrom(self._shape(node.input[1]).as_proto())
        return [*entered, size, *indices, made]

    def _handle(self, node: NodeDef) -> tuple[list[NodeDef], str]:
        """The array's handle where `node` runs: a loop has to be entered with it."""
        inside = self.places.loops(node.name)[len(self.places.loops(self.source.name)) :]
        made: list[NodeDef] = []
        handle = f"{self._array}:0"
        for frame in inside:
            enter = NodeDef(name=self.tools.free(f"{node.name}/array"), op="Enter", input=[handle])
            enter.attr["T"].type = tf.resource.as_datatype_enum
            enter.attr["frame_name"].s = frame.encode()
            enter.attr["is_constant"].b = True
            enter.attr["parallel_iterations"].i = PARALLEL
            made.append(enter)
            handle = enter.name
        return made, handle

    def _range(self, node: NodeDef, size: str) -> list[NodeDef]:
        start, step = self._const(node, "start", 0), self._const(node, "step", 1)
        return [start, step, self._node("Range", node, "indices", [start.name, size, step.name], Tidx=INT32)]

    def _const(self, node: NodeDef, name: str, value: object) -> NodeDef:
        made = self.tools.const(f"{node.name}/{name}", value)
        if self.places.loops(node.name):
            made.input.append(f"^{node_of(node.input[0])}")
        return made

    def _node(self, op: str, node: NodeDef, name: str, inputs: list[str], **types: int) -> NodeDef:
        made = NodeDef(name=self.tools.free(f"{node.name}/{name}"), op=op, input=inputs, device=node.device)
        for key, value in types.items():
            made.attr[key].type = value
        return made


def _typed(node: NodeDef, dtype: int) -> NodeDef:
    made = NodeDef()
    made.CopyFrom(node)
    made.attr["T"].type = dtype
    return made


def _is(value: np.ndarray | None, wanted: int) -> bool:
    return value is not None and value.size == 1 and int(value.reshape(-1)[0]) == wanted
