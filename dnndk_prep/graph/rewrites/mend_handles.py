"""Mends what the freezing tools of TensorFlow 1 left of variables inside branches.

Given:  Const gamma (float32) -> Switch[resource] -> ReadVariableOp       Result: Const -> Switch[float32] -> Identity

The constant took the variable's place, and what handed its handle on still expects one: no TensorFlow imports that.
"""

from __future__ import annotations

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.freeze import PASS_HANDLE
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import by_name, in_order, node_of


def mend_handles(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph in which what reads a constant is of the constant's type; unchanged where it is so already."""
    if not any(_hands_on(node) for node in graph_def.node):
        return Rewritten(graph_def)
    result = GraphDef()
    result.CopyFrom(graph_def)
    nodes, types = by_name(result), {}
    for name in [node.name for node in in_order(list(graph_def.node))]:
        node = nodes[name]
        source = node_of(node.input[0]) if node.input else ""
        if node.op == "Const":
            types[name] = node.attr["dtype"].type
        elif _hands_on(node) and source in types:
            types[name] = node.attr["T"].type = types[source]
        elif node.op == "ReadVariableOp" and source in types:
            node.op = "Identity"
            node.attr.clear()
            node.attr["T"].type = types[source]
    return Rewritten(result if types else graph_def)


def _hands_on(node: NodeDef) -> bool:
    return node.op in PASS_HANDLE and "T" in node.attr and node.attr["T"].type == tf.resource.as_datatype_enum
