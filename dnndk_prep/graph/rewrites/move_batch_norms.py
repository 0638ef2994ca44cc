"""Moves batch norms before the concatenation or the pooling that parts them from their layers.

Given:  (Conv2D, Conv2D) -> ConcatV2 -> FusedBatchNorm       Conv2D -> MaxPool -> FusedBatchNorm
Result: (Conv2D -> FusedBatchNorm)^2 -> ConcatV2             Conv2D -> FusedBatchNorm -> MaxPool

There the fold takes them in. A pool of largest values needs scales above zero; an average may have any.
"""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import BATCH_NORMS, LAYERS, Affine, View, text
from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import node_of

POOLS = ("MaxPool", "AvgPool")


def move_batch_norms(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with those batch norms before what they followed, where each of them then follows a layer."""
    if not any(node.op in BATCH_NORMS for node in graph_def.node):
        return Rewritten(graph_def)
    tools, view = Tools(graph_def, keep), View(graph_def)
    before: dict[str, list[NodeDef]] = {}
    inputs: dict[str, dict[int, str]] = {}
    gone: dict[str, str] = {}
    for norm in graph_def.node:
        if norm.op not in BATCH_NORMS or norm.name in keep or norm.name in gone:
            continue
        joint = view.nodes[node_of(norm.input[0])]
        parts = _parts(tools, view, joint, norm, keep)
        if parts is None:
            continue
        gone[norm.name] = joint.name
        start = 0
        for i, channels in parts:
            made = _norm_of(tools, view, norm, joint.input[i], slice(start, start + channels), len(parts))
            before.setdefault(joint.name, []).extend(made)
            inputs.setdefault(joint.name, {})[i] = made[-1].name
            start += channels
    if not gone:
        return Rewritten(graph_def)
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        if node.name in gone:
            continue
        result.node.extend(before.get(node.name, ()))
        copy = result.node.add()
        copy.CopyFrom(node)
        for i, name in inputs.get(node.name, {}).items():
            copy.input[i] = name
        copy.input[:] = [gone.get(name, name) for name in copy.input]
    return Rewritten(result)


def _parts(
    tools: Tools, view: View, joint: NodeDef, norm: NodeDef, keep: frozenset[str]
) -> list[tuple[int, int]] | None:
    """The inputs of `joint` that the batch norm moves to, with their channels; None where it has to stay."""
    if joint.op not in (*POOLS, "ConcatV2") or joint.name in keep or view.readers[joint.name] != [norm.name]:
        return None
    if "NHWC" not in (text(joint, "data_format", "NHWC"), text(norm, "data_format", "NHWC")):
        return None
    affine = view.batch_norm(norm, None)
    if not isinstance(affine, Affine) or (joint.op == "MaxPool" and (affine.scale <= 0).any()):
        return None
    places = range(len(joint.input) - 1) if joint.op == "ConcatV2" else range(1)
    if joint.op == "ConcatV2" and not _along_channels(tools, joint):
        return None
    parts = []
    for i in places:
        sizes = tools.sizes(joint.input[i])
        if sizes is None or sizes[-1] is None or not _can_take(view, joint.input[i], keep):
            return None
        parts.append((i, sizes[-1]))
    return parts


def _along_channels(tools: Tools, joint: NodeDef) -> bool:
    axis, sizes = tools.value(joint.input[-1]), tools.sizes(joint.name)
    return axis is not None and sizes is not None and int(axis) % len(sizes) == len(sizes) - 1 == 3


def _can_take(view: View, reference: str, keep: frozenset[str]) -> bool:
    """Whether a batch norm behind this tensor would fold into a layer."""
    node = view.nodes[node_of(reference)]
    while True:
        if ":" in reference or node.name in keep or len(view.readers[node.name]) != 1:
            return False
        if node.op not in ("BiasAdd", "BatchToSpaceND"):
            return node.op in LAYERS and view.layer(node) is not None
        node = view.nodes[node_of(node.input[0])]


def _norm_of(tools: Tools, view: View, norm: NodeDef, source: str, part: slice, count: int) -> list[NodeDef]:
    """The batch norm of one part of the channels."""
    name = norm.name if count == 1 else f"{norm.name}/part{part.start}"
    new = NodeDef()
    new.CopyFrom(norm)
    new.name = tools.free(f"{name}/moved")
    constants = []
    for i, what in enumerate(("gamma", "beta", "mean", "variance"), 1):
        value = view.constant(norm.input[i])
        assert value is not None
        constants.append(tools.const(f"{new.name}/{what}", value[part], np.float32))
        new.input[i] = constants[-1].name
    new.input[0] = source
    return [*constants, new]
