"""Numbers that a graph computes shapes with, as far as they are known."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

from dnndk_prep.check.shapes.inference import Inference, Known

if TYPE_CHECKING:
    from dnndk_prep.check.network import Op


def _numbers_of_shape(of: Inference, op: Op) -> Known | None:
    shape = of.shape(op.inputs[0])
    return None if shape is None else list(shape)


def _numbers_of_slice(of: Inference, op: Op) -> Known | None:
    whole = of.numbers(op.inputs[0])
    begin, end, step = (of.numbers(name) for name in op.inputs[1:4])
    if whole is None or not begin or not end or not step or None in (*begin, *end, *step):
        return None
    if op.attrs.get("shrink_axis_mask", 0):
        return [whole[int(begin[0] or 0)]]
    first = None if op.attrs.get("begin_mask", 0) else begin[0]
    last = None if op.attrs.get("end_mask", 0) else end[0]
    return whole[first : last : step[0]]


def _numbers_of_parts(of: Inference, op: Op) -> Known | None:
    names = op.inputs[:-1] if op.op == "ConcatV2" else op.inputs
    parts = [of.numbers(name) for name in names]
    # A scalar that is not known is still one number; a vector's length would be.
    lengths = [of.shape(name) for name in names]
    result: Known = []
    for part, shape in zip(parts, lengths, strict=True):
        if part is None and (shape is None or None in shape):
            return None
        result += part if part is not None else [None] * prod(size or 0 for size in shape or ())
    return result


def _numbers_of_pair(of: Inference, op: Op) -> Known | None:
    left, right = (of.numbers(name) for name in op.inputs)
    if left is None or right is None:
        return None
    count = max(len(left), len(right))
    pairs = zip((left * count)[:count], (right * count)[:count], strict=True)
    return [None if a is None or b is None else int(PAIRS[op.op](a, b)) for a, b in pairs]


def _numbers_of_product(of: Inference, op: Op) -> Known | None:
    known = of.numbers(op.inputs[0])
    if known is None:
        return None
    return [None if None in known else prod(n or 0 for n in known)]


def _numbers_as_they_are(of: Inference, op: Op) -> Known | None:
    return of.numbers(op.inputs[0])


PAIRS: dict[str, Callable[[int, int], Any]] = {
    "Mul": lambda a, b: a * b,
    **dict.fromkeys(("Add", "AddV2"), lambda a, b: a + b),
    "Sub": lambda a, b: a - b,
    **dict.fromkeys(("FloorDiv", "Div", "RealDiv"), lambda a, b: a // b if b else 0),
    "Maximum": max,
    "Minimum": min,
}
NUMBERS: dict[str, Callable[[Inference, Op], Known | None]] = {
    "Shape": _numbers_of_shape,
    "StridedSlice": _numbers_of_slice,
    **dict.fromkeys(("Pack", "ConcatV2"), _numbers_of_parts),
    **dict.fromkeys(PAIRS, _numbers_of_pair),
    "Prod": _numbers_of_product,
    **dict.fromkeys(("Identity", "Cast", "ExpandDims", "Squeeze", "Reshape"), _numbers_as_they_are),
}
