"""Removes Transposes that leave every axis where it is, and Reshapes that another follows or that change nothing.

Given:  x -> Reshape -> Reshape -> y; z -> Transpose [0, 1, 2] -> w       Result: x -> Reshape -> y; z -> w
"""

from __future__ import annotations

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import node_of


def merge_moves(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph without moves of values that move nothing."""
    if not any(node.op in ("Transpose", "Reshape") for node in graph_def.node):
        return Rewritten(graph_def)
    tools = Tools(graph_def, keep)
    gone = {
        node.name: node.input[0] for node in graph_def.node if node.name not in keep and _moves_nothing(tools, node)
    }
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    changed = bool(gone)
    for node in graph_def.node:
        if node.name in gone:
            continue
        copy = result.node.add()
        copy.CopyFrom(node)
        for i, name in enumerate(copy.input):
            copy.input[i] = _source(name, gone)
        if node.op == "Reshape" and tools.value(node.input[1]) is not None:
            while (before := tools.nodes.get(node_of(copy.input[0]))) is not None and before.op == "Reshape":
                # What it holds, and in which order, is what the earlier one was given.
                copy.input[0] = _source(before.input[0], gone)
                changed = True
    return Rewritten(result if changed else graph_def)


def _moves_nothing(tools: Tools, node: NodeDef) -> bool:
    if node.op == "Transpose":
        order = tools.value(node.input[1])
        return order is not None and order.tolist() == list(range(len(order)))
    if node.op == "Reshape":
        before, after = tools.sizes(node.input[0]), tools.sizes(node.name)
        # With one free size, the other sizes make it the same.
        return before is not None and before == after and before.count(None) <= 1 and 0 not in before
    return False


def _source(reference: str, gone: dict[str, str]) -> str:
    while node_of(reference) in gone:
        reference = f"^{node_of(gone[node_of(reference)])}" if reference[0] == "^" else gone[node_of(reference)]
    return reference
