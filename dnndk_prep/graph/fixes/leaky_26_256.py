"""Gives every LeakyReLU the slope 26/256, the one that a DPU computes.

vai_q_tensorflow sets it itself where the slope is 0.1, without saying so; then the float graph is no longer what the
quantized one is measured against. Other slopes stay, and run on the CPU. This changes the model's numbers.
"""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import View
from dnndk_prep.graph.fixes import Changed, copy_of, with_instead
from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.topology import node_of

SLOPE = 26 / 256
# What float32 makes of 26/256 is that number itself; TensorFlow writes 0.2 where the attribute is missing.
DEFAULT = 0.2


def leaky_26_256(graph_def: GraphDef, keep: frozenset[str]) -> Changed:
    """The graph with that slope in LeakyRelu, max(a * x, x) and relu(x) - a * relu(-x), a one number."""
    view, tools = View(graph_def), Tools(graph_def, keep)
    instead: dict[str, list[NodeDef]] = {}
    ends: list[str] = []
    for node in graph_def.node:
        if node.op == "LeakyRelu":
            if (node.attr["alpha"].f if "alpha" in node.attr else DEFAULT) != SLOPE:
                instead[node.name] = [copy_of(node)]
                instead[node.name][0].attr["alpha"].f = SLOPE
                ends.append(node.name)
        elif (found := _product(view, tools, node)) is not None:
            product, place, sign = found
            slope = tools.const(f"{node.name}/slope", np.float32(sign * SLOPE), np.float32)
            instead[product.name] = [slope, copy_of(product, inputs={place: slope.name})]
            ends.append(node.name)
    return Changed(with_instead(graph_def, instead), tuple(ends))


def _product(view: View, tools: Tools, end: NodeDef) -> tuple[NodeDef, int, float] | None:
    """The Mul with the slope in it, the slope's place, and its sign; None where `end` ends no LeakyReLU."""
    if end.op not in ("Maximum", "Sub", "Add", "AddV2"):
        return None
    for left, right in ((end.input[0], end.input[1]), (end.input[1], end.input[0])):
        product = view.nodes[node_of(right)]
        if product.op != "Mul" or (end.op == "Sub" and right != end.input[1]):
            continue
        for place in (0, 1):
            slope = tools.value(product.input[place])
            if slope is None or slope.size != 1 or slope.dtype != np.float32 or abs(slope.item()) == SLOPE:
                continue
            source = product.input[1 - place]
            if end.op == "Maximum" and source == left and 0 <= slope.item() <= 1:
                return product, place, 1.0
            if end.op != "Maximum" and _is_pair(view, left, source):
                return product, place, 1.0 if end.op == "Sub" else -1.0
    return None


def _is_pair(view: View, positive: str, negative: str) -> bool:
    """Whether one is relu(x), and the other relu(-x)."""
    first, second = view.nodes[node_of(positive)], view.nodes[node_of(negative)]
    turned = view.nodes[node_of(second.input[0])] if second.op == "Relu" else second
    return first.op == "Relu" and turned.op == "Neg" and turned.input[0] == first.input[0]
