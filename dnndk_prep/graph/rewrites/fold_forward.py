"""Folds batch norms that no layer before them can take into the layer that follows.

Given:  x -> FusedBatchNorm -> [AvgPool | Mean | Reshape | Squeeze] -> Conv2D VALID or MatMul -> [BiasAdd]
Result: x -> [AvgPool | Mean | Reshape | Squeeze] -> Conv2D or MatMul (other kernel) -> BiasAdd

With SAME the edge is padded with zeros after the batch norm, which no bias can tell: that one stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import ADDS, BATCH_NORMS, KERNEL, Affine, View, text
from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.topology import flag, node_of
from dnndk_prep.graph.weights import constant

# They hand on the mean of values, or the values themselves.
HAND_ON = ("AvgPool", "Mean", "Reshape", "Squeeze")
LAYERS = ("Conv2D", "DepthwiseConv2dNative", "MatMul")


@dataclass(frozen=True)
class Found:
    """A batch norm (the nodes of it), what it does to each channel, what it reads, and the layer that takes it in."""

    nodes: tuple[NodeDef, ...]
    affine: Affine
    source: str
    layer: NodeDef
    bias: NodeDef | None


def fold_forward(graph_def: GraphDef, keep: frozenset[str]) -> GraphDef:
    """The graph without the batch norms that a later layer takes in; the same graph where there is none."""
    while True:
        view = View(graph_def)
        tools = Tools(graph_def, keep)
        found = next((f for node in graph_def.node if (f := _found(tools, view, node, keep)) is not None), None)
        if found is None:
            return graph_def
        graph_def = _folded(graph_def, tools, view, found)


def _found(tools: Tools, view: View, node: NodeDef, keep: frozenset[str]) -> Found | None:
    start = _batch_norm(tools, view, node, keep)
    if start is None:
        return None
    nodes, affine, source = start
    place = nodes[-1]
    while (following := _only_reader(view, place, keep)) is not None:
        if following.op in LAYERS:
            whole = _as_input_of(tools, view, following, place.name, affine)
            if whole is None:
                return None
            bias = _only_reader(view, following, keep)
            has_bias = bias is not None and bias.op == "BiasAdd" and view.constant(bias.input[1]) is not None
            return Found(nodes, whole, source, following, bias if has_bias else None)
        if following.op not in HAND_ON or following.input[0] != place.name or following.name in keep:
            return None
        handed = _handed_on(tools, following, affine)
        if handed is None:
            return None
        affine, place = handed, following
    return None


def _batch_norm(
    tools: Tools, view: View, node: NodeDef, keep: frozenset[str]
) -> tuple[tuple[NodeDef, ...], Affine, str] | None:
    """A fused batch norm, or a Mul and an Add of vectors."""
    if node.name in keep:
        return None
    if node.op in BATCH_NORMS:
        affine = view.batch_norm(node, None)
        plain = isinstance(affine, Affine) and text(node, "data_format", "NHWC") == "NHWC"
        return ((node,), affine, node.input[0]) if plain and isinstance(affine, Affine) else None
    if node.op != "Mul" or (add := _only_reader(view, node, keep)) is None or add.op not in ADDS or add.name in keep:
        return None
    scale, offset = (_vector_beside(view, one) for one in (node, add))
    if scale is None or offset is None or scale[1].shape != offset[1].shape or tools.sizes(scale[0]) is None:
        return None
    if add.op == "Sub" and add.input[0] != node.name:
        return None
    sign = -1.0 if add.op == "Sub" else 1.0
    return (node, add), Affine(scale[1], sign * offset[1]), scale[0]


def _vector_beside(view: View, node: NodeDef) -> tuple[str, np.ndarray] | None:
    for data, other in ((0, 1), (1, 0)):
        value = view.vector(node.input[other])
        if value is not None:
            return node.input[data], value.reshape(-1).astype(np.float64)
    return None


def _only_reader(view: View, node: NodeDef, keep: frozenset[str]) -> NodeDef | None:
    readers = view.readers.get(node.name, [])
    if len(readers) != 1 or node.name in keep:
        return None
    reader = view.nodes[readers[0]]
    return reader if node.name in reader.input else None


def _handed_on(tools: Tools, node: NodeDef, affine: Affine) -> Affine | None:
    """The scale and offset behind `node`; None where they are no longer along the last axis."""
    before, after = tools.sizes(node.input[0]), tools.sizes(node.name)
    if before is None or after is None or before[-1] != affine.scale.size or after[-1] is None:
        return None
    if node.op == "AvgPool":
        return affine if text(node, "data_format", "NHWC") == "NHWC" else None
    if node.op == "Mean":
        axes = tools.value(node.input[1])
        inner = axes is not None and all(0 < int(axis) % len(before) < len(before) - 1 for axis in axes.reshape(-1))
        return affine if inner else None
    if after[-1] == before[-1]:
        return affine
    # Flatten: the channels come round again for every place.
    places = [size for size in before[1:] if size]
    if node.op == "Reshape" and len(after) == 2 and len(places) == len(before) - 1 and after[-1] == np.prod(places):
        times = after[-1] // affine.scale.size
        return Affine(np.tile(affine.scale, times), np.tile(affine.offset, times))
    return None


def _as_input_of(tools: Tools, view: View, layer: NodeDef, place: str, affine: Affine) -> Affine | None:
    """`affine` where the layer's kernel can take it in; None where it cannot."""
    kernel = view.constant(layer.input[KERNEL])
    if layer.input[0] != place or kernel is None or kernel.dtype != np.float32:
        return None
    if len(view.readers[node_of(layer.input[KERNEL])]) != 1:
        return None
    if layer.op == "MatMul":
        plain = not flag(layer, "transpose_a") and not flag(layer, "transpose_b")
        return affine if plain and kernel.shape[0] == affine.scale.size else None
    unpadded = layer.attr["padding"].s == b"VALID" or kernel.shape[:2] == (1, 1)
    plain = text(layer, "data_format", "NHWC") == "NHWC" and unpadded
    return affine if plain and kernel.shape[2] == affine.scale.size else None


def _folded(graph_def: GraphDef, tools: Tools, view: View, found: Found) -> GraphDef:
    layer, affine = found.layer, found.affine
    kernel = view.constant(layer.input[KERNEL])
    assert kernel is not None
    wide = kernel.astype(np.float64)
    along = (-1, 1) if layer.op == "MatMul" else (1, 1, -1, 1)
    shift = wide * affine.offset.reshape(along)
    # A depthwise kernel's channels are both of its last axes.
    axes = (0, 1) if layer.op == "DepthwiseConv2dNative" else tuple(range(wide.ndim - 1))
    offset = shift.sum(axes).reshape(-1)
    gone = {node.name: found.source for node in found.nodes}
    new = {node_of(layer.input[KERNEL]): _scaled(view, layer, wide * affine.scale.reshape(along))}
    if found.bias is not None:
        old = view.constant(found.bias.input[1])
        assert old is not None
        bias = tools.const(f"{found.bias.name}/bias", offset + old, np.float32)
        with_bias = NodeDef()
        with_bias.CopyFrom(found.bias)
        with_bias.input[1] = bias.name
        return _written(graph_def, gone, new | {found.bias.name: [bias, with_bias]})
    bias = tools.const(f"{layer.name.rpartition('/')[0] or layer.name}/bias", offset, np.float32)
    inner = NodeDef()
    inner.CopyFrom(layer)
    inner.name = tools.free(f"{layer.name}/product")
    # The sum takes the layer's name: whoever reads the layer, or runs the graph up to it, gets the same numbers.
    add = tools.node("BiasAdd", layer.name, [inner.name, bias.name], layer)
    add.attr["data_format"].s = b"NHWC"
    return _written(graph_def, gone, new | {layer.name: [inner, bias, add]})


def _scaled(view: View, layer: NodeDef, kernel: np.ndarray) -> list[NodeDef]:
    return [constant(node_of(layer.input[KERNEL]), kernel.astype(np.float32))]


def _written(graph_def: GraphDef, gone: dict[str, str], new: dict[str, list[NodeDef]]) -> GraphDef:
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        if node.name in gone:
            continue
        for one in new.get(node.name, [node]):
            copy = result.node.add()
            copy.CopyFrom(one)
            for i, name in enumerate(copy.input):
                while name in gone:
                    name = gone[name]
                copy.input[i] = name
    return result
