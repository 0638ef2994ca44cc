"""Resizes with half pixels for a TensorFlow that has none.

TensorFlow before 1.14 puts pixel o of the result at o / f of the image, today's at (o + 0.5) / f - 0.5.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import INT32, Tools
from dnndk_prep.graph.topology import flag, node_of

EDGE = [[0, 0], [1, 1], [1, 1], [0, 0]]


def resize_nearest(tools: Tools, node: NodeDef) -> list[NodeDef] | None:
    """Growing by a whole factor f, floor((i + 0.5) / f) is floor(i / f): half pixels change nothing.

    Between other sizes that are known, rows and columns are picked by their numbers.
    """
    if flag(node, "align_corners"):
        return None
    if _factors(tools, node) is not None:
        return [_without_half_pixels(node)]
    return _picked(tools, node, _nearest)


def resize_bilinear(tools: Tools, node: NodeDef) -> list[NodeDef] | None:
    """By a whole factor f: the image with its edge repeated, enlarged as of old, and the part that half pixels see.

    With one pixel more on each side, half pixels stand at (o + (f + 1) / 2) / f: for an odd f, pixels of an enlargement
    by f; for an even one, every other pixel of an enlargement by 2 f. Between other sizes that are known: weighted sums
    of rows and columns.
    """
    if flag(node, "align_corners") or node.attr["T"].type != tf.float32.as_datatype_enum:
        return None
    factors = _factors(tools, node)
    if factors is None:
        return _picked(tools, node, _weighted)
    even = [factor % 2 == 0 for factor in factors]
    steps = [2 if is_even else 1 for is_even in even]
    larger = [factor * step for factor, step in zip(factors, steps, strict=True)]
    start = [f + 1 if is_even else (f + 1) // 2 for f, is_even in zip(factors, even, strict=True)]
    end = [-3 * f if is_even else -(3 * f - 1) // 2 for f, is_even in zip(factors, even, strict=True)]
    edge = tools.const(f"{node.name}/edge", EDGE)
    padded = tools.node("MirrorPad", f"{node.name}/with_edge", [node.input[0], edge.name], node, Tpaddings=INT32)
    padded.attr["mode"].s = b"SYMMETRIC"
    size = _size(tools, node, padded.name, larger)
    old = tools.node("ResizeBilinear", f"{node.name}/enlarged", [padded.name, size[-1].name], node)
    return [edge, padded, *size, old, *_sliced(tools, node, old.name, start, end, steps)]


def _factors(tools: Tools, node: NodeDef) -> list[int] | None:
    """By which whole factors height and width grow; None where they do not, or it is not known."""
    before, after = tools.sizes(node.input[0]), tools.sizes(node.name)
    if before is not None and after is not None and len(before) == len(after) == 4:
        pairs = list(zip(before[1:3], after[1:3], strict=True))
        if all(old and new and new % old == 0 for old, new in pairs):
            return [new // old for old, new in pairs if old and new]
    return _multiples(tools, node)


def _multiples(tools: Tools, node: NodeDef) -> list[int] | None:
    """The factors where the size is Shape(x)[1:3] * whole numbers, x the image: Keras writes it if sizes are free."""
    nodes = tools.nodes
    size = nodes[node_of(node.input[1])]
    if size.op != "Mul":
        return None
    sliced, factors = nodes[node_of(size.input[0])], tools.value(size.input[1])
    if sliced.op != "StridedSlice" or factors is None:
        return None
    shape = nodes[node_of(sliced.input[0])]
    bounds = [tools.value(name) for name in sliced.input[1:]]
    is_plain = not any(sliced.attr[name].i for name in sliced.attr if name.endswith("_mask"))
    of_image = shape.op == "Shape" and node_of(shape.input[0]) == node_of(node.input[0])
    if not (of_image and is_plain) or [None if b is None else b.tolist() for b in bounds] != [[1], [3], [1]]:
        return None
    return [int(factor) for factor in np.broadcast_to(factors, 2)]


def _without_half_pixels(node: NodeDef) -> NodeDef:
    result = NodeDef()
    result.CopyFrom(node)
    del result.attr["half_pixel_centers"]
    return result


def _size(tools: Tools, node: NodeDef, padded: str, factors: list[int]) -> list[NodeDef]:
    """The size of the enlargement: a constant, or what the padded image has at run time, times the factors."""
    before = tools.sizes(node.input[0])
    if before is not None and None not in before[1:3]:
        known = [(size + 2) * factor for size, factor in zip(before[1:3], factors, strict=True) if size]
        return [tools.const(f"{node.name}/enlarged_size", known)]
    shape = tools.node("Shape", f"{node.name}/Shape", [padded], node, out_type=INT32)
    part, by = _spatial(tools, node, shape.name), tools.const(f"{node.name}/factors", factors)
    size = tools.node("Mul", f"{node.name}/enlarged_size", [part[-1].name, by.name], shape, T=INT32)
    return [shape, *part, by, size]


def _spatial(tools: Tools, node: NodeDef, shape: str) -> list[NodeDef]:
    bounds = [tools.const(f"{node.name}/sizes/{n}", [v]) for n, v in (("begin", 1), ("end", 3), ("strides", 1))]
    part = tools.node("StridedSlice", f"{node.name}/sizes", [shape, *(b.name for b in bounds)], node, Index=INT32)
    part.attr["T"].type = INT32
    return [*bounds, part]


def _sliced(
    tools: Tools, node: NodeDef, tensor: str, start: list[int], end: list[int], steps: list[int]
) -> list[NodeDef]:
    values = (("begin", [0, *start, 0]), ("end", [0, *end, 0]), ("strides", [1, *steps, 1]))
    bounds = [tools.const(f"{node.name}/part/{name}", value) for name, value in values]
    part = tools.node("StridedSlice", node.name, [tensor, *(bound.name for bound in bounds)], node, Index=INT32)
    # Batch and channels whole.
    part.attr["begin_mask"].i = part.attr["end_mask"].i = 0b1001
    return [*bounds, part]


def _picked(tools: Tools, node: NodeDef, along: object) -> list[NodeDef] | None:
    """The resize as one step along the height and one along the width, where all sizes are known."""
    assert callable(along)
    before, after = tools.sizes(node.input[0]), tools.sizes(node.name)
    if before is None or after is None or None in [*before[1:3], *after[1:3]]:
        return None
    result: list[NodeDef] = []
    tensor = node.input[0]
    for axis, name in ((1, f"{node.name}/rows"), (2, node.name)):
        result += along(tools, node, tensor, axis, name, (before[axis], after[axis]))
        tensor = result[-1].name
    return result


def _nearest(tools: Tools, node: NodeDef, tensor: str, axis: int, name: str, sizes: tuple[int, int]) -> list[NodeDef]:
    # In float32, as TensorFlow computes them: a pixel on the edge of two must fall to the same one.
    scale = np.float32(sizes[0]) / np.float32(sizes[1])
    places = np.floor((np.arange(sizes[1], dtype=np.float32) + np.float32(0.5)) * scale)
    return _gathered(tools, node, tensor, axis, name, np.clip(places, 0, sizes[0] - 1))


def _weighted(tools: Tools, node: NodeDef, tensor: str, axis: int, name: str, sizes: tuple[int, int]) -> list[NodeDef]:
    places = np.clip((np.arange(sizes[1]) + 0.5) * sizes[0] / sizes[1] - 0.5, 0, sizes[0] - 1)
    lower = np.floor(places)
    along = [-1 if i == axis else 1 for i in range(4)]
    result, sums = [], []
    for side, at, weight in (
        ("lower", lower, 1 - (places - lower)),
        ("upper", np.ceil(places), places - lower),
    ):
        taken = _gathered(tools, node, tensor, axis, f"{node.name}/{side}", at)
        by = tools.const(f"{node.name}/{side}/weights", weight.reshape(along), np.float32)
        sums.append(tools.node("Mul", f"{node.name}/{side}/weighted", [taken[-1].name, by.name], node))
        result += [*taken, by, sums[-1]]
    return [*result, tools.node("Add", name, [each.name for each in sums], node)]


def _gathered(tools: Tools, node: NodeDef, tensor: str, axis: int, name: str, places: np.ndarray) -> list[NodeDef]:
    which, along = tools.const(f"{name}/numbers", places), tools.const(f"{name}/axis", axis)
    gather = tools.node("GatherV2", name, [tensor, which.name, along.name], node, Tindices=INT32, Taxis=INT32)
    gather.attr["Tparams"].CopyFrom(node.attr["T"])
    del gather.attr["T"]
    return [which, along, gather]
