"""Removes products with the number one.

Given:  x -> Mul(Const 1.0) -> y       Result: x -> y

TensorFlow writes silu so, for the sake of another factor that it may have.
"""

from __future__ import annotations

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import node_of


def products_with_one(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph without Mul by a scalar one, but for outputs of the graph."""
    tools = Tools(graph_def, keep)
    gone = {
        node.name: other
        for node in graph_def.node
        if node.op == "Mul" and node.name not in keep and (other := _other(tools, node)) is not None
    }
    if not gone:
        return Rewritten(graph_def)
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        if node.name not in gone:
            copy = result.node.add()
            copy.CopyFrom(node)
            for i, name in enumerate(copy.input):
                while node_of(name) in gone:
                    source = gone[node_of(name)]
                    name = f"^{node_of(source)}" if name.startswith("^") else source
                copy.input[i] = name
    return Rewritten(result)


def _other(tools: Tools, node: NodeDef) -> str | None:
    """What is multiplied by a scalar one."""
    for number, other in (node.input[:2], node.input[1::-1]):
        value = tools.value(number)
        if value is not None and value.ndim == 0 and value == 1:
            return other
    return None
