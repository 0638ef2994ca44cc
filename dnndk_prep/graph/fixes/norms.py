"""Batch norms that no layer could take in, moved to where they do no harm.

norm_before_add:   (Conv2D, Conv2D) -> Add -> FusedBatchNorm becomes (Conv2D, Conv2D) -> Add, folded into both kernels
norm_behind_mean:  FusedBatchNorm -> Mean over height and width becomes Mean -> Mul -> BiasAdd

The second is for vai_q_tensorflow 3.5, which ends with signal 11 where such a Mean reads a batch norm (measured).
"""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import ADDS, BATCH_NORMS, LAYERS, Affine, View, text
from dnndk_prep.graph.fixes import Changed, copy_of, with_instead
from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.rewrites.fold_batch_norms import fold_batch_norms
from dnndk_prep.graph.topology import node_of


def norm_before_add(graph_def: GraphDef, keep: frozenset[str]) -> Changed:
    """The graph without batch norms behind sums of two layers that nothing else reads."""
    view, tools = View(graph_def), Tools(graph_def, keep)
    instead: dict[str, list[NodeDef]] = {}
    reads: dict[str, str] = {}
    for norm in graph_def.node:
        joint = view.nodes[node_of(norm.input[0])] if norm.op in BATCH_NORMS and norm.name not in keep else None
        affine = None if joint is None else view.batch_norm(norm, None)
        if joint is None or not isinstance(affine, Affine) or not _is_sum(view, joint, keep):
            continue
        scale = tools.const(f"{norm.name}/scale", affine.scale, np.float32)
        offset = tools.const(f"{norm.name}/offset", affine.offset, np.float32)
        # The offset is added once, the scale goes to both.
        first = tools.node("Mul", f"{norm.name}/0/scaled", [joint.input[0], scale.name], norm)
        shifted = tools.node("BiasAdd", f"{norm.name}/0", [first.name, offset.name], norm)
        shifted.attr["data_format"].s = b"NHWC"
        second = tools.node("Mul", f"{norm.name}/1", [joint.input[1], scale.name], norm)
        both = {0: shifted.name, 1: second.name}
        instead[joint.name] = [scale, offset, first, shifted, second, copy_of(joint, inputs=both)]
        instead[norm.name] = []
        reads[norm.name] = joint.name
    if not instead:
        return Changed(graph_def, ())
    return Changed(fold_batch_norms(with_instead(graph_def, instead, reads), keep).graph_def, tuple(reads))


def _is_sum(view: View, joint: NodeDef, keep: frozenset[str]) -> bool:
    """Whether it adds what two layers give, both of which can take a batch norm in."""
    alone = joint.name not in keep and len(view.readers[joint.name]) == 1
    return joint.op in ("Add", "AddV2") and alone and all(_takes(view, name, keep) for name in joint.input)


def _takes(view: View, reference: str, keep: frozenset[str]) -> bool:
    node = view.nodes[node_of(reference)]
    while ":" not in reference and node.name not in keep and len(view.readers[node.name]) == 1:
        if node.op != "BiasAdd":
            layer = view.layer(node) if node.op in LAYERS else None
            return layer is not None and layer.data_format == "NHWC"
        node = view.nodes[node_of(node.input[0])]
    return False


def norm_behind_mean(graph_def: GraphDef, keep: frozenset[str]) -> Changed:
    """The graph with the mean first: it is the same for every place, whether scaled before or behind."""
    view, tools = View(graph_def), Tools(graph_def, keep)
    instead: dict[str, list[NodeDef]] = {}
    for mean in graph_def.node:
        if mean.op != "Mean" or not _is_over_places(tools, mean):
            continue
        norm = view.nodes[node_of(mean.input[0])]
        found = _norm(view, norm, keep)
        if found is None or view.readers[norm.name] != [mean.name] or norm.name in keep:
            continue
        affine, source = found
        scale = tools.const(f"{mean.name}/scale", affine.scale, np.float32)
        offset = tools.const(f"{mean.name}/offset", affine.offset, np.float32)
        inner = copy_of(mean, tools.free(f"{mean.name}/mean"), {0: source})
        scaled = tools.node("Mul", f"{mean.name}/scaled", [inner.name, scale.name], mean)
        # The last takes the name: whoever reads the mean gets the same numbers.
        shifted = tools.node("BiasAdd", mean.name, [scaled.name, offset.name], mean)
        shifted.attr["data_format"].s = b"NHWC"
        instead[mean.name] = [inner, scale, offset, scaled, shifted]
    return Changed(with_instead(graph_def, instead), tuple(instead))


def _is_over_places(tools: Tools, mean: NodeDef) -> bool:
    axes, sizes = tools.value(mean.input[1]), tools.sizes(mean.input[0])
    return axes is not None and sizes is not None and len(sizes) == 4 and sorted(np.ravel(axes) % 4) == [1, 2]


def _norm(view: View, node: NodeDef, keep: frozenset[str]) -> tuple[Affine, str] | None:
    """A fused batch norm, or the sum behind a product, both with one number a channel; and what it reads."""
    if node.op in BATCH_NORMS:
        affine = view.batch_norm(node, None)
        plain = isinstance(affine, Affine) and text(node, "data_format", "NHWC") == "NHWC"
        return (affine, node.input[0]) if plain and isinstance(affine, Affine) else None
    if node.op not in ADDS or (beside := _beside(view, node)) is None:
        return None
    product = view.nodes[node_of(beside[0])]
    if product.op != "Mul" or product.name in keep or view.readers[product.name] != [node.name]:
        return None
    scale = _beside(view, product)
    if scale is None or scale[1].shape != beside[1].shape or (node.op == "Sub" and node.input[0] != beside[0]):
        return None
    return Affine(scale[1], -beside[1] if node.op == "Sub" else beside[1]), scale[0]


def _beside(view: View, node: NodeDef) -> tuple[str, np.ndarray] | None:
    """The data of two inputs, and the constant with one number a channel."""
    for data, other in ((0, 1), (1, 0)):
        value = view.vector(node.input[other])
        if value is not None:
            return node.input[data], value.reshape(-1).astype(np.float64)
    return None
