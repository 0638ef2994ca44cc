"""Gives each layer constants of its own, where a shared layer of the model is computed more than once.

Given:  kernel -> conv, conv_1        Result: kernel -> conv; conv_1/kernel -> conv_1

The compiler of Vitis AI does not take a kernel that two convolutions read.
"""

from __future__ import annotations

from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.channels import KERNEL, LAYERS
from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import node_of


def unshare(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with a copy of kernel and bias for every layer but the first that reads them."""
    tools = Tools(graph_def, keep)
    read: set[str] = set()
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    changed = False
    for node in graph_def.node:
        copy = result.node.add()
        if node.op in LAYERS or node.op == "BiasAdd":
            copy.CopyFrom(node)
            source = tools.nodes[node_of(node.input[KERNEL])]
            if source.op == "Const" and source.name in read:
                # The new constant stands where the layer was to stand, and the layer after it.
                layer = result.node.add()
                layer.CopyFrom(copy)
                copy.CopyFrom(source)
                copy.name = tools.free(f"{node.name}/{source.name.rpartition('/')[2]}")
                layer.input[KERNEL] = copy.name
                changed = True
            read.add(source.name)
        else:
            copy.CopyFrom(node)
    return Rewritten(result if changed else graph_def)
