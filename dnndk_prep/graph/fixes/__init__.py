"""The fixes that `optimize_for_inference.fixes` asks for, one a file; their table is in dnndk_prep.graph.fix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef


@dataclass(frozen=True)
class Changed:
    """A new graph, and the nodes of the old one that were mended; none where there was nothing to mend."""

    graph_def: GraphDef
    nodes: tuple[str, ...]


# From a graph and the names of the nodes that must stay to a changed graph; the old one is not changed.
Change = Callable[[GraphDef, frozenset[str]], Changed]


def with_instead(
    graph_def: GraphDef, instead: Mapping[str, Sequence[NodeDef]], reads: Mapping[str, str] | None = None
) -> GraphDef:
    """The graph with `instead[name]` in the place of the node `name`.

    reads: what all other nodes read by the name of the key, they read by that of the value.
    """
    names = reads or {}
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        if node.name in instead:
            result.node.extend(instead[node.name])
            continue
        copy = result.node.add()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
    return result


def copy_of(node: NodeDef, name: str | None = None, inputs: Mapping[int, str] | None = None) -> NodeDef:
    """The node under another name, with other inputs at some places."""
    result = NodeDef()
    result.CopyFrom(node)
    result.name = name or node.name
    for place, reference in (inputs or {}).items():
        result.input[place] = reference
    return result
