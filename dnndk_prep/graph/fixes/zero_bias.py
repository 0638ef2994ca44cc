"""Gives layers without a bias one of zeros where a quantizer would take a sum for their bias.

Given:  x + y -> z (Add); Conv2D -> w; z + w (Add)
Result: Conv2D -> BiasAdd(zeros) -> w, the rest as it was

vai_q_tensorflow 3.5 takes z for the bias of Conv2D otherwise (measured), and rounds it as weights are.
"""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import LAYERS, View
from dnndk_prep.graph.fixes import Changed, with_instead
from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.topology import node_of


def zero_bias(graph_def: GraphDef, keep: frozenset[str]) -> Changed:
    """The graph with a bias for each such layer."""
    view, tools = View(graph_def), Tools(graph_def, keep)
    instead: dict[str, list[NodeDef]] = {}
    reads: dict[str, str] = {}
    for add in graph_def.node:
        for layer in _bare(view, add, keep):
            sizes = tools.sizes(layer.name)
            if sizes is None or sizes[-1] is None:
                continue
            zeros = tools.const(f"{layer.name}/zero_bias", np.zeros(sizes[-1]), np.float32)
            bias = tools.node("BiasAdd", f"{layer.name}/BiasAdd", [layer.name, zeros.name], layer)
            bias.attr["data_format"].s = b"NHWC"
            instead[layer.name] = [layer, zeros, bias]
            reads[layer.name] = bias.name
    return Changed(with_instead(graph_def, instead, reads), tuple(instead))


def _bare(view: View, add: NodeDef, keep: frozenset[str]) -> list[NodeDef]:
    """The layers that `add` alone reads, directly, and whose sum with another Add it is."""
    if add.op != "Add":
        return []
    makers = [view.nodes[node_of(name)] for name in add.input]
    if not any(maker.op == "Add" for maker in makers):
        return []
    return [one for one in makers if one.op in LAYERS and view.readers[one.name] == [add.name] and one.name not in keep]
