"""Writes a ReLU with a ceiling other than 6 as a clip, which a quantizer does not take for a ReLU6.

Given:  x -> Relu -> Minimum(c) [-> Maximum(0), as Keras writes it]
Result: x -> Minimum(c) -> Maximum(0), the same numbers for every c >= 0

vai_q_tensorflow 3.5 makes a ReLU6 of the first, whatever c is (measured).
"""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import View
from dnndk_prep.graph.fixes import Changed, copy_of, with_instead
from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.topology import node_of

SIX = 6.0


def clip(graph_def: GraphDef, keep: frozenset[str]) -> Changed:
    """The graph with the two nodes of each such ReLU the other way round."""
    view, tools = View(graph_def), Tools(graph_def, keep)
    instead: dict[str, list[NodeDef]] = {}
    for node in graph_def.node:
        found = _ceiling(view, tools, node, keep)
        if found is None:
            continue
        relu, ceiling = found
        instead[relu.name] = []
        if _is_floored(view, tools, node, keep):
            instead[node.name] = [copy_of(node, inputs={list(node.input).index(relu.name): relu.input[0]})]
            continue
        zero = tools.const(f"{node.name}/zero", 0.0, np.float32)
        lower = tools.node("Minimum", f"{node.name}/Minimum", [relu.input[0], ceiling], node)
        instead[node.name] = [lower, zero, tools.node("Maximum", node.name, [lower.name, zero.name], node)]
    ends = tuple(name for name, nodes in instead.items() if nodes)
    return Changed(with_instead(graph_def, instead), ends)


def _is_floored(view: View, tools: Tools, node: NodeDef, keep: frozenset[str]) -> bool:
    """Whether a Maximum with 0 alone reads the node."""
    readers = view.readers.get(node.name, [])
    if node.name in keep or len(readers) != 1 or view.nodes[readers[0]].op != "Maximum":
        return False
    values = [tools.value(name) for name in view.nodes[readers[0]].input]
    return any(value is not None and value.size == 1 and value.item() == 0 for value in values)


def _ceiling(view: View, tools: Tools, node: NodeDef, keep: frozenset[str]) -> tuple[NodeDef, str] | None:
    """The Relu before a Minimum, and the constant of that."""
    if node.op != "Minimum":
        return None
    for value, other in (tuple(node.input), tuple(node.input)[::-1]):
        relu, number = view.nodes[node_of(value)], tools.value(other)
        alone = relu.op == "Relu" and relu.name not in keep and view.readers[relu.name] == [node.name]
        if alone and number is not None and number.size == 1 and 0 <= float(number.item()) != SIX:
            return relu, other
    return None
