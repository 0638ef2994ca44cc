"""Writes the axes of Mean and Max as numbers from zero up, in order.

Given:  Mean over [2, 1] or [-3, -2]        Result: Mean over [1, 2]

Over exactly [1, 2] the quantizers take a Mean for global average pooling, and over nothing else.
"""

from __future__ import annotations

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.rewrites import Rewritten

# The order of the axes does not count for these.
REDUCTIONS = ("Mean", "Max", "Min", "Sum")


def reduction_axes(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with a constant of its own for each reduction whose axes stand otherwise."""
    nodes = [node for node in graph_def.node if node.op in REDUCTIONS]
    tools = Tools(graph_def, keep)
    made = {}
    for node in nodes:
        axes = tools.value(node.input[1])
        if axes is None or (axes.ndim and axes.size and (axes >= 0).all() and axes.tolist() == sorted(axes.tolist())):
            continue
        sizes = tools.sizes(node.input[0])
        if sizes is not None and axes.size:
            known = sorted(int(axis) % len(sizes) for axis in axes.reshape(-1))
            made[node.name] = tools.const(f"{node.name}/axes", known, axes.dtype.type)
    if not made:
        return Rewritten(graph_def)
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        copy = NodeDef()
        copy.CopyFrom(node)
        if node.name in made:
            result.node.append(made[node.name])
            copy.input[1] = made[node.name].name
        result.node.append(copy)
    return Rewritten(result)
