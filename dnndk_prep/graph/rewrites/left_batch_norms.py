"""Says which batch norms no layer could take in, and why: the DPU has no operator for them."""

from __future__ import annotations

from collections.abc import Iterator

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import ADDS, BATCH_NORMS, CHANNELS_LAST, LAYERS, View
from dnndk_prep.graph.topology import node_of


def left_batch_norms(graph_def: GraphDef, keep: frozenset[str]) -> Iterator[str]:
    """One sentence for each batch norm in `graph_def`, fused or as Mul and Add of constants, after the fold."""
    view = View(graph_def)
    for node in graph_def.node:
        if node.op in BATCH_NORMS:
            yield f"{node.name} stays: {_reason(view, node, keep)}{_crash(view, node)}"
        elif (scaled := _scaled_by_vector(view, node)) is not None:
            yield f"{node.name} (with {scaled.name}) stays: {_reason(view, scaled, keep)}{_crash(view, node)}"


def _crash(view: View, node: NodeDef) -> str:
    """What happens where the mean of a batch norm is taken: vai_q_tensorflow 3.5 ends with signal 11, every time."""
    means = [name for name in view.readers.get(node.name, []) if view.nodes[name].op == "Mean"]
    return f"; vai_q_tensorflow crashes where {means[0]} (Mean) reads it directly: put a ReLU between" if means else ""


def _scaled_by_vector(view: View, node: NodeDef) -> NodeDef | None:
    """The Mul of a decomposed batch norm whose Add or Sub is `node`."""
    if node.op not in ADDS or len(node.input) != 2:
        return None
    data = _data_of(view, node)
    if data is None or view.nodes[node_of(data)].op != "Mul":
        return None
    scaled = view.nodes[node_of(data)]
    return scaled if _data_of(view, scaled) is not None else None


def _data_of(view: View, node: NodeDef) -> str | None:
    """Which of two inputs has the data, where the other is a constant with one number a channel."""
    first, second = node.input[0], node.input[1]
    if view.vector(second) is not None:
        return first
    return second if view.vector(first) is not None else None


def _reason(view: View, node: NodeDef, keep: frozenset[str]) -> str:
    if node.op in BATCH_NORMS:
        data, own = node.input[0], view.batch_norm(node, None)
        if isinstance(own, str):
            return own
    else:
        data = _data_of(view, node) or node.input[0]
    before = view.nodes[node_of(data)]
    while True:
        if before.name in keep:
            return f"{before.name}, which it follows, is an output of the graph"
        readers = view.readers[before.name]
        if len(readers) > 1:
            return f"{before.name}, which it follows, is read by {len(readers)} nodes: {', '.join(readers)}"
        if before.op not in ("BiasAdd", "BatchToSpaceND", "Squeeze"):
            break
        before = view.nodes[node_of(before.input[0])]
    if before.op not in LAYERS:
        return f"it follows {before.name} ({before.op}), and only a convolution or a dense layer can take it in"
    layer = view.layer(before)
    if layer is None:
        return f"the kernel of {before.name} is not constant, or of half precision"
    if node.op in BATCH_NORMS and isinstance(own := view.batch_norm(node, layer), str):
        return own
    if layer.data_format not in CHANNELS_LAST:
        return f"{before.name} is {layer.data_format}, and its constants lie along the last axis"
    return f"its constants do not fit the {layer.channels} channels of {before.name}"
