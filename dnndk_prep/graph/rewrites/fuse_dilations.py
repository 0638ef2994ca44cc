"""Makes one convolution with dilations of the three nodes that Keras writes.

Given:  x -> SpaceToBatchND -> Conv2D VALID -> BatchToSpaceND
Result: x -> [Pad] -> Conv2D, with dilations, SAME or VALID

Convolutions of one channel each (depthwise) stay, since no CPU kernel of TensorFlow 1 dilates them, and so does what
the form cannot express. The notes name them: the DPU has no SpaceToBatchND.
"""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import View
from dnndk_prep.graph.form_tools import INT32, Tools
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import node_of

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")


def fuse_dilations(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with each dilated Conv2D of known paddings as one node; it has the name that its Conv2D had.

    The notes name the convolutions that stay three nodes.
    """
    if not any(node.op == "BatchToSpaceND" for node in graph_def.node):
        return Rewritten(graph_def)
    tools, view = Tools(graph_def, keep), View(graph_def)
    made: dict[str, list[NodeDef]] = {}
    gone: dict[str, str] = {}
    notes = []
    for last in graph_def.node:
        if last.op != "BatchToSpaceND":
            continue
        conv = view.nodes[node_of(last.input[0])]
        fused = None
        if (
            conv.op == "Conv2D"
            and last.name not in keep
            and conv.name not in keep
            and len(view.readers[conv.name]) == 1
        ):
            fused = _fused(tools, conv, last)
        if fused is not None:
            made[conv.name], gone[last.name] = fused, conv.name
        elif conv.op in CONVOLUTIONS:
            notes.append(_note(conv))
    if not made:
        return Rewritten(graph_def, tuple(notes))
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        if node.name in gone:
            continue
        for new in made.get(node.name, [node]):
            copy = result.node.add()
            copy.CopyFrom(new)
            copy.input[:] = [gone.get(name, name) for name in copy.input]
    return Rewritten(result, tuple(notes))


def _note(conv: NodeDef) -> str:
    why = (
        "TensorFlow 1 has no kernel that dilates it"
        if conv.op == "DepthwiseConv2dNative"
        else "its paddings, strides or readers have no form with dilations"
    )
    return (
        f"{conv.name} ({conv.op}) stays between SpaceToBatchND and BatchToSpaceND, for {why}: the quantizers know the "
        "three nodes, but the DPU has no operator for the outer two"
    )


def _fused(tools: Tools, conv: NodeDef, last: NodeDef) -> list[NodeDef] | None:
    first = tools.nodes[node_of(conv.input[0])]
    kernel = tools.sizes(conv.input[1])
    if first.op != "SpaceToBatchND" or conv.attr["padding"].s != b"VALID" or kernel is None or None in kernel[:2]:
        return None
    rates, amounts, again, crops = (tools.value(n) for n in (*first.input[1:], *last.input[1:]))
    if rates is None or amounts is None or again is None or crops is None or rates.tolist() != again.tolist():
        return None
    is_plain = set(conv.attr["strides"].list.i) == {1} and set(conv.attr["dilations"].list.i) <= {1}
    sides = amounts - crops
    if len(rates) != 2 or not is_plain or (sides < 0).any():
        return None
    new = NodeDef()
    new.CopyFrom(conv)
    new.input[0] = first.input[0]
    new.attr["dilations"].list.i[:] = [1, *rates.tolist(), 1]
    totals = [(size - 1) * int(rate) for size, rate in zip(kernel[:2], rates, strict=True) if size]
    if sides.tolist() == [[total // 2, total - total // 2] for total in totals]:
        new.attr["padding"].s = b"SAME"
        return [new]
    if not sides.any():
        return [new]
    paddings = tools.const(f"{conv.name}/paddings", np.pad(sides, ((1, 1), (0, 0))))
    pad = tools.node("Pad", f"{conv.name}/pad", [first.input[0], paddings.name], conv, Tpaddings=INT32)
    new.input[0] = pad.name
    return [paddings, pad, new]
