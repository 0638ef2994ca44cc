"""What a quantizer knows under one spelling alone: sums of two tensors, LeakyReLUs, and one number a channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.dpu.levels import level_of
from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.rewrites.prune import prune
from dnndk_prep.graph.topology import node_of

# Vitis AI's quantizer takes a residual Add for a bias where it follows another Add; some builds of DNNDK's TensorFlow
# have no AddV2.
SUMS: Mapping[str, str] = {"vitis_ai": "AddV2", "dnndk": "Add"}
CHANNELWISE = ("Mul", "Add", "AddV2")
# The first whose operators hold LeakyRelu; the graphs of older ones spell it max(alpha * x, x).
WITH_LEAKY_RELU = "1.15"


def quantizer_forms(graph_def: GraphDef, family: str, reader: str, keep: frozenset[str]) -> GraphDef:
    """The graph as the quantizer of `family` ("vitis_ai", "dnndk"), on TensorFlow `reader`, reads it rightly.

    Every Add and AddV2 becomes the family's. max(alpha * x, x) becomes a LeakyRelu where the reader has one:
    vai_q_tensorflow 3.5 quantizes product and maximum of Maximum(x * alpha, x) each on their own (measured). What
    multiplies or is added to each channel becomes a vector: by [1, 1, 1, C] the quantizer ends, "bad shape" (measured).
    """
    result = GraphDef()
    result.CopyFrom(graph_def)
    for node in result.node:
        if node.op in ("Add", "AddV2"):
            node.op = SUMS[family]
    result = _with_vectors(result, keep)
    return _with_leaky_relus(result, keep) if level_of(reader) == WITH_LEAKY_RELU else result


def _with_vectors(graph_def: GraphDef, keep: frozenset[str]) -> GraphDef:
    """The graph with constants [1, ..., 1, C] of products and sums as [C], where the other side has as many axes."""
    tools = Tools(graph_def, keep)
    made: dict[str, NodeDef] = {}
    for node in graph_def.node:
        for place, reference in enumerate(node.input[:2]) if node.op in CHANNELWISE else ():
            value = tools.value(reference)
            if value is None or value.ndim < 2 or not value.shape[-1] == value.size > 1:
                continue
            sizes = tools.sizes(node.input[1 - place])
            if sizes is None or len(sizes) < value.ndim:
                continue
            vector = tools.const(f"{node_of(reference)}/vector", value.reshape(-1), value.dtype.type)
            made[vector.name] = vector
            node.input[place] = vector.name
    if not made:
        return graph_def
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    result.node.extend([*made.values(), *graph_def.node])
    return prune(result, keep).graph_def


def _with_leaky_relus(graph_def: GraphDef, keep: frozenset[str]) -> GraphDef:
    tools = Tools(graph_def, keep)
    for node in graph_def.node:
        if node.op == "Maximum" and (found := _slope(tools, node)) is not None:
            source, alpha = found
            node.op = "LeakyRelu"
            del node.input[:]
            node.input.append(source)
            node.attr["alpha"].f = alpha
    return prune(graph_def, keep).graph_def


def _slope(tools: Tools, node: NodeDef) -> tuple[str, float] | None:
    """x and alpha of max(alpha * x, x), alpha between 0 and 1."""
    for product, source in (tuple(node.input), tuple(node.input)[::-1]):
        scaled = tools.nodes[node_of(product)]
        if scaled.op != "Mul" or source not in scaled.input:
            continue
        alpha = tools.value(next((name for name in scaled.input if name != source), source))
        if alpha is not None and alpha.dtype == np.float32 and alpha.size == 1 and 0 <= float(alpha.item()) <= 1:
            return source, float(alpha.item())
    return None
