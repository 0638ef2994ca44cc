"""Puts a bias directly behind its layer.

Given:  MatMul -> Reshape -> BiasAdd; Conv2D -> Squeeze -> BiasAdd
Result: MatMul -> BiasAdd -> Reshape; Conv2D -> BiasAdd -> Squeeze

The quantizers take a BiasAdd for a bias only there.
"""

from __future__ import annotations

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import LAYERS, View, text
from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import node_of


def bias_to_layer(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with those pairs the other way round: whoever read the bias reads the Reshape."""
    if not any(node.op in ("Reshape", "Squeeze") for node in graph_def.node):
        return Rewritten(graph_def)
    view, tools = View(graph_def), Tools(graph_def, keep)
    made: dict[str, NodeDef] = {}
    renamed: dict[str, str] = {}
    for bias in graph_def.node:
        move = view.nodes[node_of(bias.input[0])] if bias.op == "BiasAdd" else None
        if move is None or not _fits(view, tools, move, bias, keep):
            continue
        first, second = NodeDef(), NodeDef()
        first.CopyFrom(bias)
        second.CopyFrom(move)
        first.input[0] = move.input[0]
        if bias.name in keep:
            first.name, second.name = tools.free(f"{bias.name}/bias"), bias.name
        else:
            renamed[bias.name] = move.name
        second.input[0] = first.name
        made[move.name], made[bias.name] = first, second
    if not made:
        return Rewritten(graph_def)
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        new = made.get(node.name)
        copy = result.node.add()
        copy.CopyFrom(node if new is None else new)
        if new is None:
            copy.input[:] = [renamed.get(name, name) for name in copy.input]
    return Rewritten(result)


def _fits(view: View, tools: Tools, move: NodeDef, bias: NodeDef, keep: frozenset[str]) -> bool:
    if move.op not in ("Reshape", "Squeeze") or move.name in keep or len(view.readers[move.name]) != 1:
        return False
    layer = view.nodes[node_of(move.input[0])]
    if layer.op not in LAYERS or layer.name in keep or len(view.readers[layer.name]) != 1:
        return False
    before, after = tools.sizes(layer.name), tools.sizes(move.name)
    last = None if before is None or after is None else (before[-1], after[-1])
    plain = text(bias, "data_format", "NHWC") == "NHWC" and text(layer, "data_format", "NHWC") == "NHWC"
    return plain and view.constant(bias.input[1]) is not None and last is not None and last[0] == last[1] is not None
