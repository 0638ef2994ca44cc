"""Writes a batch norm of images that is spelled out as one node.

Given:  Mul(x, inv) + (beta - mean * inv)   with inv = Rsqrt(variance + epsilon) * gamma
Result: FusedBatchNormV3(x, gamma, beta, mean, variance)

Keras 3 spells them out in inference (tf.nn.batch_normalization), with or without gamma and beta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import node_of

ADDS = ("Add", "AddV2")
# The scope that TensorFlow opens for the parts.
PARTS = "/batchnorm"


@dataclass(frozen=True)
class _Parts:
    """What a batch norm reads, as tensors; gamma and beta may be missing."""

    data: str
    gamma: str | None
    beta: str | None
    mean: str
    variance: str
    epsilon: float


def fuse_batch_norms(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with each batch norm of four axes, channels last, as FusedBatchNormV3 in inference."""
    if not any(node.op == "Rsqrt" for node in graph_def.node):
        return Rewritten(graph_def)
    tools = Tools(graph_def, keep)
    made: dict[str, list[NodeDef]] = {}
    for node in graph_def.node:
        parts = _parts(tools, node) if node.op in ADDS else None
        if parts is not None and _is_of_channels(tools, parts):
            made[node.name] = _fused(tools, node, parts, keep)
    if not made:
        return Rewritten(graph_def)
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    renamed = {name: nodes[-1].name for name, nodes in made.items()}
    for node in graph_def.node:
        for one in made.get(node.name, [node]):
            copy = result.node.add()
            copy.CopyFrom(one)
            for i, name in enumerate(copy.input):
                copy.input[i] = renamed.get(name, name)
    return Rewritten(result)


def _parts(tools: Tools, node: NodeDef) -> _Parts | None:
    for scaled, shift in _both(node.input):
        product = tools.nodes[node_of(scaled)]
        if product.op != "Mul":
            continue
        for data, inverse in _both(product.input):
            if (norm := _inverse(tools, inverse)) is None:
                continue
            gamma, variance, epsilon = norm
            if (rest := _shift(tools, shift, inverse)) is not None:
                return _Parts(data, gamma, rest[0], rest[1], variance, epsilon)
    return None


def _inverse(tools: Tools, name: str) -> tuple[str | None, str, float] | None:
    """gamma, variance and epsilon of Rsqrt(variance + epsilon) [* gamma]."""
    node, gamma = tools.nodes[node_of(name)], None
    if node.op == "Mul":
        pairs = [pair for pair in _both(node.input) if tools.nodes[node_of(pair[0])].op == "Rsqrt"]
        if not pairs:
            return None
        gamma, node = pairs[0][1], tools.nodes[node_of(pairs[0][0])]
    added = tools.nodes[node_of(node.input[0])] if node.op == "Rsqrt" else node
    if added.op not in ADDS or node.op != "Rsqrt":
        return None
    for variance, small in _both(added.input):
        epsilon = tools.value(small)
        if epsilon is not None and epsilon.size == 1:
            return gamma, variance, float(epsilon.reshape(()))
    return None


def _shift(tools: Tools, name: str, inverse: str) -> tuple[str | None, str] | None:
    """beta and mean of beta - mean * inverse, or of -mean * inverse."""
    node, beta = tools.nodes[node_of(name)], None
    if node.op == "Sub":
        beta, node = node.input[0], tools.nodes[node_of(node.input[1])]
    if node.op != "Mul":
        return None
    for mean, other in _both(node.input):
        if other == inverse:
            if beta is not None:
                return beta, mean
            source = tools.nodes[node_of(mean)]
            return (None, source.input[0]) if source.op == "Neg" else None
    return None


def _is_of_channels(tools: Tools, parts: _Parts) -> bool:
    sizes = tools.sizes(parts.data)
    if sizes is None or len(sizes) != 4 or sizes[3] is None:
        return False
    vectors = (parts.gamma, parts.beta, parts.mean, parts.variance)
    return all(tools.sizes(vector) == sizes[3:] for vector in vectors if vector is not None)


def _fused(tools: Tools, node: NodeDef, parts: _Parts, keep: frozenset[str]) -> list[NodeDef]:
    scope = node.name.rpartition("/")[0].removesuffix(PARTS)
    name = node.name if node.name in keep or not scope else tools.free(f"{scope}/FusedBatchNormV3")
    (channels,) = (tools.sizes(parts.data) or [0])[3:]
    ones, zeros = np.ones(channels or 0, np.float32), np.zeros(channels or 0, np.float32)
    made = []
    for vector, value, word in ((parts.gamma, ones, "gamma"), (parts.beta, zeros, "beta")):
        if vector is None:
            made.append(tools.const(f"{name}/{word}", value, np.float32))
    names = iter([one.name for one in made])
    gamma, beta = parts.gamma or next(names), parts.beta or next(names)
    fused = NodeDef(name=name, op="FusedBatchNormV3", input=[parts.data, gamma, beta, parts.mean, parts.variance])
    fused.attr["T"].CopyFrom(node.attr["T"])
    fused.attr["U"].type = tf.float32.as_datatype_enum
    fused.attr["epsilon"].f = parts.epsilon
    fused.attr["data_format"].s = b"NHWC"
    fused.attr["is_training"].b = False
    return [*made, fused]


def _both(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(names[0], names[1]), (names[1], names[0])] if len(names) >= 2 else []
