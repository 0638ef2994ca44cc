"""Drops what no output needs any more.

Given:  a -> b (output), a -> c        Result: a -> b
"""

from __future__ import annotations

from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import by_name, in_order, library_of, reachable


def prune(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The nodes that `keep` needs, each after what it reads, and the library functions that they call."""
    needed = reachable(by_name(graph_def), keep)
    nodes = in_order([node for node in graph_def.node if node.name in needed])
    functions = set(library_of(graph_def, nodes))
    same_nodes = [node.name for node in nodes] == [node.name for node in graph_def.node]
    if same_nodes and len(functions) == len(graph_def.library.function):
        return Rewritten(graph_def)
    result = GraphDef(versions=graph_def.versions)
    result.node.extend(nodes)
    result.library.function.extend(f for f in graph_def.library.function if f.signature.name in functions)
    return Rewritten(result)
