"""Writes max(min(x, 6), 0) and its like as one Relu6.

Given:  x -> Relu -> Minimum(6) -> Maximum(0), as older Kerases and clip_by_value(x, 0, 6) have it
Result: x -> Relu6, under the name of the last

The numbers are the same. A DPU has ReLU6; vai_q_tensorflow 3.5 takes Minimum(Relu) for one, but not the Maximum behind
it, which would be the CPU's.
"""

from __future__ import annotations

from collections import Counter

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import node_of

FLOAT = tf.float32.as_datatype_enum
# Op -> the number with which it makes one of the two bounds.
BOUNDS = {"Minimum": 6.0, "Maximum": 0.0}


def one_relu6(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with a Relu6 in the place of each last node; what only it read is left for prune."""
    if not any(node.op in (*BOUNDS, "ClipByValue") for node in graph_def.node):
        return Rewritten(graph_def)
    tools = Tools(graph_def, keep)
    readers = Counter(node_of(name) for node in graph_def.node for name in node.input)
    alone = frozenset(name for name, count in readers.items() if count == 1 and name not in keep)
    sources = {node.name: source for node in graph_def.node if (source := _source(tools, node, alone)) is not None}
    if not sources:
        return Rewritten(graph_def)
    result = GraphDef()
    result.CopyFrom(graph_def)
    for node in result.node:
        if node.name in sources:
            node.op, node.input[:] = "Relu6", [sources[node.name], *(name for name in node.input if name[0] == "^")]
    return Rewritten(result)


def _source(tools: Tools, node: NodeDef, alone: frozenset[str]) -> str | None:
    """What the node, and those before it, limit to 0 and to 6; None where one of the bounds is not there.

    alone: the nodes that one other reads. What more read would stay, and its layer could take in neither of the two.
    """
    if node.op not in (*BOUNDS, "ClipByValue") or node.attr["T"].type != FLOAT:
        return None
    reference, bounds = _bound(tools, node.name) or ("", set())
    while node_of(reference) in alone and (found := _bound(tools, reference)) is not None:
        reference, bounds = found[0], bounds | found[1]
    return reference if bounds == set(BOUNDS) else None


def _bound(tools: Tools, reference: str) -> tuple[str, set[str]] | None:
    """What the maker of a value limits, and which bounds it gives."""
    node = tools.nodes[node_of(reference)]
    if node.op == "Relu":
        return node.input[0], {"Maximum"}
    if node.op == "Relu6":
        return node.input[0], set(BOUNDS)
    if node.op == "ClipByValue":
        is_relu6 = _is(tools, node.input[1], BOUNDS["Maximum"]) and _is(tools, node.input[2], BOUNDS["Minimum"])
        return (node.input[0], set(BOUNDS)) if is_relu6 else None
    if node.op not in BOUNDS:
        return None
    first, second = node.input[:2]
    for value, other in ((first, second), (second, first)):
        if _is(tools, other, BOUNDS[node.op]) and tools.value(value) is None:
            return value, {node.op}
    return None


def _is(tools: Tools, reference: str, number: float) -> bool:
    """Whether it is a constant of this one number, which leaves the shape of the other side as it is."""
    value = tools.value(reference)
    return value is not None and value.shape == () and float(value) == number
