"""Moves a ReLU before the concatenation, largest-value pool or reshape that parts it from its layers.

Given:  (Conv2D, Conv2D) -> ConcatV2 -> Relu       Conv2D -> MaxPool -> Relu
Result: (Conv2D -> Relu)^2 -> ConcatV2             Conv2D -> Relu -> MaxPool

There it is part of the layer; by itself vai_q_tensorflow rounds it once more, and vai_q_tensorflow2 not at all.
"""

from __future__ import annotations

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import LAYERS, View
from dnndk_prep.graph.fixes import Changed, copy_of, with_instead
from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.topology import node_of

# Every value of the result is one of the values that come in, the largest of some, or the same for all in order.
MOVERS = ("ConcatV2", "MaxPool", "Reshape", "Squeeze", "ExpandDims")
# A ReLU behind these is part of them.
TAKERS = (*LAYERS, "BiasAdd", "Add", "AddV2")
# What a ReLU no longer changes.
DONE = {"Relu": ("Relu", "Relu6"), "Relu6": ("Relu6",)}


def early_relu(graph_def: GraphDef, keep: frozenset[str]) -> Changed:
    """The graph with each ReLU at the layers, where all of them can take it."""
    moved: list[str] = []
    while (found := _movable(graph_def, keep)) is not None:
        relu, mover = found
        moved.append(relu.name)
        graph_def = _moved(graph_def, relu, mover, keep)
    return Changed(graph_def, tuple(moved))


def _movable(graph_def: GraphDef, keep: frozenset[str]) -> tuple[NodeDef, NodeDef] | None:
    view = View(graph_def)
    for relu in graph_def.node:
        if relu.op in DONE and view.nodes[node_of(relu.input[0])].op in MOVERS:
            mover = view.nodes[node_of(relu.input[0])]
            if _takes(view, relu.input[0], relu, relu, keep):
                return relu, mover
    return None


def _takes(view: View, reference: str, reader: NodeDef, relu: NodeDef, keep: frozenset[str]) -> bool:
    """Whether `relu` may stand behind this value and is then part of a layer."""
    node = view.nodes[node_of(reference)]
    if node.op in DONE[relu.op]:
        return True
    if ":" in reference or node.name in keep or view.readers[node.name] != [reader.name]:
        return False
    if node.op in MOVERS:
        return all(_takes(view, node.input[place], node, relu, keep) for place in _data(node))
    return node.op in TAKERS


def _data(mover: NodeDef) -> range:
    """The places of what it moves; an axis or a shape is none."""
    return range(len(mover.input) - 1) if mover.op == "ConcatV2" else range(1)


def _moved(graph_def: GraphDef, relu: NodeDef, mover: NodeDef, keep: frozenset[str]) -> GraphDef:
    view, tools = View(graph_def), Tools(graph_def, keep)
    relus, inputs = [], {}
    for place in _data(mover):
        if view.nodes[node_of(mover.input[place])].op in DONE[relu.op]:
            continue
        relus.append(copy_of(relu, tools.free(f"{relu.name}/{place}"), {0: mover.input[place]}))
        inputs[place] = relus[-1].name
    # An output keeps its name, and the numbers under it.
    last = copy_of(mover, relu.name if relu.name in keep else None, inputs)
    instead = {mover.name: [], relu.name: [*relus, last]}
    return with_instead(graph_def, instead, {} if relu.name in keep else {relu.name: mover.name})
