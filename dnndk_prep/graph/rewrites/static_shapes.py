"""Writes shapes that are known as constants: what Flatten, Reshape and Dense compute from Shape at run time.

Given:  x -> Shape -> StridedSlice -> Pack; (x, Pack) -> Reshape         with x of [batch, 4, 4, 8]
Result: (x, Const [-1, 128]) -> Reshape

The DPU's tools quantize and compile Reshape with a constant shape alone, and stop at a ConcatV2 of whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.known_values import RULES, WHOLE, KnownValues, dtype_of
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import node_of
from dnndk_prep.graph.weights import constant

# Which inputs of an op are sizes or places, and the attribute with their dtype.
SIZES: Mapping[str, tuple[tuple[int, ...], str]] = {
    "Reshape": ((1,), "Tshape"),
    "Conv2DBackpropInput": ((0,), ""),
    "ResizeBilinear": ((1,), ""),
    "ResizeNearestNeighbor": ((1,), ""),
    "Tile": ((1,), "Tmultiples"),
    "Fill": ((0,), "index_type"),
    "Pad": ((1,), "Tpaddings"),
    "StridedSlice": ((1, 2, 3), "Index"),
    "Slice": ((1, 2), "Index"),
}

# Of RULES, what is no constant that follows from others.
TOLD = ("Const", "Identity")


def static_shapes(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with constants for whole numbers that follow from known sizes, and for a Reshape with one free size."""
    while True:
        done = _once(graph_def, keep)
        # What is written as a constant makes more shapes known behind it.
        if done is graph_def or not (_asks(done) or _computed(done)):
            return Rewritten(done)
        graph_def = done


def _asks(graph_def: GraphDef) -> list[tuple[NodeDef, int]]:
    """The inputs that tell sizes and are not constant."""
    constants = {node.name for node in graph_def.node if node.op == "Const"}
    return [
        (node, i)
        for node in graph_def.node
        if node.op in SIZES
        for i in SIZES[node.op][0]
        if node_of(node.input[i]) not in constants
    ]


def _computed(graph_def: GraphDef) -> list[NodeDef]:
    """The nodes that give whole numbers which may be known."""
    return [node for node in graph_def.node if node.op in RULES and node.op not in TOLD and dtype_of(node) in WHOLE]


def _once(graph_def: GraphDef, keep: frozenset[str]) -> GraphDef:
    asked, computed = _asks(graph_def), _computed(graph_def)
    if not asked and not computed:
        return graph_def
    tools = Tools(graph_def, keep)
    known = KnownValues(tools)
    written: dict[str, NodeDef] = {}
    new: dict[str, dict[int, NodeDef]] = {}
    for node in computed:
        value = _whole(known.of(node.name))
        if value is not None and node.name not in keep:
            written[node.name] = constant(node.name, value.astype(_numpy(dtype_of(node))))
            written[node.name].input.extend(_frame(tools, node))
    for node, i in asked:
        value = _reshaped(tools, known, node) if node.op == "Reshape" else _whole(known.of(node.input[i]))
        if value is not None:
            made = tools.const(f"{node.name}/static_shape", value, _dtype(node, SIZES[node.op][1]))
            made.input.extend(_frame(tools, node))
            new.setdefault(node.name, {})[i] = made
    if not written and not new:
        return graph_def
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        made_here = new.get(node.name, {})
        result.node.extend(made_here.values())
        copy = result.node.add()
        copy.CopyFrom(written.get(node.name, node))
        for i, value in made_here.items():
            copy.input[i] = value.name
    return result


def _whole(value: np.ndarray | None) -> np.ndarray | None:
    """Numbers that are all known."""
    if value is None or None in value.reshape(-1):
        return None
    return value.astype(np.int64)


def _reshaped(tools: Tools, known: KnownValues, node: NodeDef) -> np.ndarray | None:
    """The shape for a Reshape, -1 for its one free size, from what computes it or from what TensorFlow infers."""
    inferred = tools.sizes(node.name)
    value = known.of(node.input[1])
    computed = None if value is None else [None if size == -1 else size for size in value]
    for sizes in (inferred, computed, _flattened(tools, node, value)):
        # An empty axis leaves a free one undetermined.
        if sizes is not None and 0 not in sizes and sizes.count(None) <= 1:
            return np.array([-1 if size is None else size for size in sizes], np.int64)
    return None


def _flattened(tools: Tools, node: NodeDef, value: np.ndarray | None) -> list[int | None] | None:
    """[None, 100] for the shape [batch, -1] that Flatten computes in TensorFlow 1.9: the batch is the tensor's own."""
    before = tools.sizes(node.input[0])
    if value is None or before is None or [*value].count(-1) != 1 or [*value].count(None) != 1 or value[0] is not None:
        return None
    if before[:1] != [None] or not _is_own_batch(tools, node):
        return None
    others = [size for size in before[1:] if size is not None]
    written = math.prod(size for size in value if size not in (None, -1))
    if len(others) + 1 != len(before) or not written or math.prod(others) % written:
        return None
    return [math.prod(others) // written if size == -1 else size for size in value]


def _is_own_batch(tools: Tools, reshape: NodeDef) -> bool:
    """Whether the first number of the Reshape's shape is the first size of the tensor that it reshapes."""
    place = _behind(tools, reshape.input[1])
    if place.op not in ("Pack", "ConcatV2"):
        return False
    part = _behind(tools, place.input[0])
    if part.op not in ("StridedSlice", "Slice") or any(tools.value(name) is None for name in part.input[1:]):
        return False
    begin, size = (tools.value(name) for name in part.input[1:3])
    shape = _behind(tools, part.input[0])
    is_first = begin is not None and size is not None and begin.tolist() == [0] and size.tolist() == [1]
    return is_first and shape.op == "Shape" and shape.input[0] == reshape.input[0]


def _behind(tools: Tools, reference: str) -> NodeDef:
    """The node that gives the numbers, before what only hands them on."""
    node = tools.nodes[node_of(reference)]
    while node.op in ("Identity", "Cast", "ExpandDims"):
        node = tools.nodes[node_of(node.input[0])]
    return node


def _frame(tools: Tools, node: NodeDef) -> list[str]:
    """What binds a constant beside `node` to the turn of the loop that it is in; nothing outside of loops."""
    return [f"^{node_of(node.input[0])}"] if node.name in tools.looping else []


def _dtype(node: NodeDef, attribute: str) -> type[np.generic]:
    return _numpy(node.attr[attribute].type if attribute in node.attr else tf.int32.as_datatype_enum)


def _numpy(number: int) -> type[np.generic]:
    return tf.as_dtype(number).as_numpy_dtype
