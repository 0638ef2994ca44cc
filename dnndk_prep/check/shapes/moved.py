"""Shapes of what moves, joins and parts values."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from dnndk_prep.check.shapes.inference import Inference, Known, Rule, Shapes, Size, over, times

if TYPE_CHECKING:
    from dnndk_prep.check.network import Op


def _reshape(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    known = of.numbers(op.inputs[1])
    if known is None:
        return [None]
    if -1 not in known:
        return [tuple(known)]
    before = inputs[0]
    rest = [size for size in known if size != -1]
    # The free batch stands on both sides, or is what -1 becomes.
    if None in rest or None in before:
        free = before.count(None) + rest.count(None)
        same = [size for size in before if size is not None], [size for size in rest if size is not None]
        whole = prod(same[0]) // max(1, prod(same[1])) if before.count(None) == rest.count(None) else None
        exact = before.count(None) == rest.count(None) and free and prod(same[0]) % max(1, prod(same[1])) == 0
        return [tuple((whole if exact else None) if size == -1 else size for size in known)]
    whole = prod(before) // max(1, prod(size or 1 for size in rest))
    return [tuple(whole if size == -1 else size for size in known)]


def _squeeze(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    dims = [axis % len(inputs[0]) for axis in op.attrs.get("squeeze_dims") or op.attrs.get("axis") or []]
    return [tuple(s for axis, s in enumerate(inputs[0]) if (axis not in dims if dims else s != 1))]


def _expand(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    axes = of.axes(op.inputs[1], len(inputs[0]) + 1)
    return [None] if axes is None else [(*inputs[0][: axes[0]], 1, *inputs[0][axes[0] :])]


def _transpose(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    order = of.axes(op.inputs[1], len(inputs[0]))
    return [None] if order is None else [tuple(inputs[0][axis] for axis in order)]


def _concat(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    place = -1 if op.op == "ConcatV2" else 0
    axis_name, parts = op.inputs[place], inputs[:-1] if op.op == "ConcatV2" else inputs[1:]
    if any(part is None for part in parts) or (axes := of.axes(axis_name, len(parts[0]))) is None:
        return [None]
    along = [part[axes[0]] for part in parts]
    total = None if None in along else sum(along)
    others = [tuple(size for n, size in enumerate(part) if n != axes[0]) for part in parts]
    rest = [next((o[n] for o in others if o[n] is not None), None) for n in range(len(others[0]))]
    return [(*rest[: axes[0]], total, *rest[axes[0] :])]


def _pack(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    axis = op.attrs.get("axis", 0) % (len(inputs[0]) + 1)
    return [(*inputs[0][:axis], len(inputs), *inputs[0][axis:])]


def _unpack(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    axis = op.attrs.get("axis", 0) % len(inputs[0])
    return [inputs[0][:axis] + inputs[0][axis + 1 :]] * op.attrs["num"]


def _pad(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    known = of.numbers(op.inputs[1])
    if known is None or len(known) != 2 * len(inputs[0]):
        return [None]
    sides = [(known[2 * n], known[2 * n + 1]) for n in range(len(inputs[0]))]
    return [
        tuple(
            None if size is None or a is None or b is None else size + a + b
            for size, (a, b) in zip(inputs[0], sides, strict=True)
        )
    ]


def _slice(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    begin, size = of.numbers(op.inputs[1]), of.numbers(op.inputs[2])
    if size is None:
        return [(None,) * len(inputs[0])]
    starts: Known = begin if begin is not None else [None] * len(size)
    return [
        tuple(
            (None if whole is None or start is None else whole - start) if length == -1 else length
            for whole, start, length in zip(inputs[0], starts, size, strict=True)
        )
    ]


def _strided_slice(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    bounds = [of.numbers(name) for name in op.inputs[1:4]]
    if any(bound is None or None in bound for bound in bounds) or op.attrs.get("ellipsis_mask"):
        return [None]
    begin, end, step = ([int(n or 0) for n in bound or []] for bound in bounds)
    masks = {name: op.attrs.get(f"{name}_mask", 0) for name in ("begin", "end", "new_axis", "shrink_axis")}
    result: list[Size] = []
    axis = 0
    for n in range(len(begin)):
        if masks["new_axis"] >> n & 1:
            result.append(1)
            continue
        size, axis = inputs[0][axis], axis + 1
        if masks["shrink_axis"] >> n & 1:
            continue
        first = None if masks["begin"] >> n & 1 else begin[n]
        last = None if masks["end"] >> n & 1 else end[n]
        is_whole = first in (None, 0) and last is None and step[n] == 1
        result.append(
            len(range(*slice(first, last, step[n]).indices(size)))
            if size is not None
            else _sliced(first, last, is_whole)
        )
    return [(*result, *inputs[0][axis:])]


def _sliced(first: Size, last: Size, is_whole: bool) -> Size:
    """The size of a slice of a free axis: never told, for it may be shorter than the slice."""
    return 0 if first is not None and first == last and not is_whole else None


def _split(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    value = inputs[1] if op.op == "Split" else inputs[0]
    axis = of.axes(op.inputs[0 if op.op == "Split" else 2], len(value)) if value is not None else None
    if value is None or axis is None:
        return [None]
    count = op.attrs["num_split"]
    if op.op == "Split":
        whole = value[axis[0]]
        parts: Known = [None if whole is None else whole // count] * count
    else:
        parts = of.numbers(op.inputs[1]) or [None] * count
    return [(*value[: axis[0]], part, *value[axis[0] + 1 :]) for part in parts]


def _tile(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    factors = of.numbers(op.inputs[1])
    if factors is None:
        return [(None,) * len(inputs[0])]
    return [tuple(times(size, n) for size, n in zip(inputs[0], factors, strict=True))]


def _gather(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    axes = of.axes(op.inputs[2], len(inputs[0])) if len(op.inputs) > 2 else [0]
    if axes is None or inputs[1] is None:
        return [None]
    return [(*inputs[0][: axes[0]], *inputs[1], *inputs[0][axes[0] + 1 :])]


def _blocks(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    """SpaceToDepth and DepthToSpace."""
    n, (batch, height, width, depth) = op.attrs["block_size"], inputs[0]
    if op.op == "SpaceToDepth":
        return [(batch, over(height, n), over(width, n), times(depth, n * n))]
    return [(batch, times(height, n), times(width, n), over(depth, n * n))]


def _batches(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    """SpaceToBatchND and BatchToSpaceND."""
    block, sides = of.numbers(op.inputs[1]), of.numbers(op.inputs[2])
    if block is None or sides is None or None in block or None in sides:
        moved = inputs[1][0] if inputs[1] else None
        return [None if moved is None else ((None,) * (moved + 1) + inputs[0][moved + 1 :])]
    whole = prod(n or 1 for n in block)
    to_batch, result = op.op == "SpaceToBatchND", list(inputs[0])
    result[0] = times(result[0], whole) if to_batch else over(result[0], whole)
    for n, factor in enumerate(block):
        size, total = result[n + 1], (sides[2 * n] or 0) + (sides[2 * n + 1] or 0)
        if size is not None and factor is not None:
            result[n + 1] = (size + total) // factor if to_batch else size * factor - total
    return [tuple(result)]


def _vector(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    return [(len(inputs[0]),)]


def _filled(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    known = of.numbers(op.inputs[0])
    return [None if known is None else tuple(known)]


def _range(of: Inference, op: Op, inputs: list[Any]) -> Shapes:
    known = [of.numbers(name) for name in op.inputs]
    ends = [part[0] if part else None for part in known]
    if None in ends:
        return [(None,)]
    return [(len(range(*(int(end or 0) for end in ends))),)]


MOVED: dict[str, Rule] = {
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "ExpandDims": _expand,
    "Transpose": _transpose,
    **dict.fromkeys(("Concat", "ConcatV2"), _concat),
    "Pack": _pack,
    "Unpack": _unpack,
    **dict.fromkeys(("Pad", "PadV2", "MirrorPad"), _pad),
    "Slice": _slice,
    "StridedSlice": _strided_slice,
    **dict.fromkeys(("Split", "SplitV"), _split),
    "Tile": _tile,
    **dict.fromkeys(("Gather", "GatherV2"), _gather),
    **dict.fromkeys(("SpaceToDepth", "DepthToSpace"), _blocks),
    **dict.fromkeys(("SpaceToBatchND", "BatchToSpaceND"), _batches),
    "Shape": _vector,
    "Fill": _filled,
    "Range": _range,
}
