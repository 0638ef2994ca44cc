"""Takes a bias as the vector that it is, where a graph brings it to the rank of an image and back.

Given:  b [8] -> Reshape [1, 1, 1, 8] -> Squeeze -> BiasAdd       Result: b -> BiasAdd

Keras 3 adds every bias so.
"""

from __future__ import annotations

from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import node_of

MOVES = ("Reshape", "Squeeze", "ExpandDims")


def vector_biases(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with each BiasAdd reading its vector; the moves, where nothing else reads them, are left unread."""
    tools = Tools(graph_def, keep)
    new = {}
    for node in graph_def.node:
        if node.op == "BiasAdd" and tools.nodes[node_of(node.input[1])].op in MOVES:
            source = node.input[1]
            while tools.nodes[node_of(source)].op in MOVES:
                source = tools.nodes[node_of(source)].input[0]
            sizes = tools.sizes(source)
            # Moves of one row of numbers leave it as it is.
            if sizes is not None and len(sizes) == 1 and sizes == tools.sizes(node.input[1]):
                new[node.name] = source
    if not new:
        return Rewritten(graph_def)
    result = GraphDef()
    result.CopyFrom(graph_def)
    for node in result.node:
        if node.name in new:
            node.input[1] = new[node.name]
    return Rewritten(result)
