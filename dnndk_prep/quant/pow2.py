"""Powers of two: the values that a FixNeuron lets through, and how a quantizer chooses the position. NumPy alone.

A position p and a width of b bits stand for the numbers q * 2^-p with whole q from -2^(b-1) to 2^(b-1) - 1.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from functools import cache, partial
from typing import TypeVar

import numpy as np

# The position of a tensor that is zero throughout: any would do.
ALL_ZERO = 127
# Min-diffs tries the non-overflow position and the next ones above it.
CANDIDATES = 5
# A second best score this near to the best is computed again in double precision.
NEAR = 1e-3
# Values that are worked on at a time: they stay in the processor's cache.
BLOCK = 1 << 15
# Fewer values than this are not worth a second thread.
MANY = 1 << 17
# Wider numbers than this do not keep their halves in single precision.
MAX_FAST_BITS = 16
SMALLEST = np.finfo(np.float32).tiny
JUST_BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0))

T = TypeVar("T")


class Mode(IntEnum):
    """What a FixNeuron quantizes: it decides the rounding of halves, and the score of method RELATIVE."""

    WEIGHT = 0
    ACTIVATION = 1
    DEPTHWISE_WEIGHT = 2


class Method(IntEnum):
    """How a position is chosen. RELATIVE is MIN_DIFFS, but that it scores depthwise weights by relative errors."""

    NON_OVERFLOW = 0
    MIN_DIFFS = 1
    RELATIVE = 2


def bounds(bits: int) -> tuple[int, int]:
    """The least and the greatest whole number of `bits` bits."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def quantize(x: np.ndarray, bits: int, position: int, mode: int) -> np.ndarray:
    """The nearest numbers of the grid, as float32 of x's shape; x is float32.

    Halves go upwards for activations, away from zero for weights.
    """
    if mode != Mode.ACTIVATION or not _is_fast(bits, position):
        return np.ldexp(rounded(x, bits, position, mode), -position).astype(np.float32)
    result = np.empty(x.shape, np.float32)
    target, source = result.reshape(-1), np.ascontiguousarray(x).reshape(-1)
    over_parts(lambda part: _quantize_part(source[part], target[part], bits, position), source.size)
    return result


def rounded(x: np.ndarray, bits: int, position: int, mode: int) -> np.ndarray:
    """The whole numbers q that stand for x, as float64. Every step is exact in double precision."""
    steps = np.ldexp(x.astype(np.float64), position)
    is_upwards = mode == Mode.ACTIVATION
    whole = np.floor(steps + 0.5) if is_upwards else np.copysign(np.floor(np.abs(steps) + 0.5), steps)
    return np.clip(whole, *bounds(bits))


def extent(x: np.ndarray) -> tuple[float, float]:
    """The least and the greatest value of a float32 array that is not empty; NaN if it holds one."""
    flat = np.ascontiguousarray(x).reshape(-1)
    parts = over_parts(lambda part: (flat[part].min(), flat[part].max()), flat.size)
    lows, highs = zip(*parts, strict=True)
    return float(np.min(lows)), float(np.max(highs))


def non_overflow(low: float, high: float, bits: int) -> int:
    """The greatest position at which nothing between `low` and `high` is cut off by more than half a step.

    In single precision, as the quantizers compute it: log2 of a number just below a power of two may give the power.
    """
    one = np.float32
    half = 2 ** (bits - 1)
    step = max(one(low) / one(-half - 0.5), one(high) / one(half - 0.5))
    if step < SMALLEST:
        return ALL_ZERO
    return math.floor(one(np.log2(np.float64(one(1) / step))))


def choose(x: np.ndarray, bits: int, method: int, mode: int, extremes: tuple[float, float] | None = None) -> int:
    """The position for a float32 array that is not empty; `extremes` are those of `extent`, if they are known.

    Raises ValueError if x holds what is no finite number.
    """
    low, high = extent(x) if extremes is None else extremes
    if not math.isfinite(low) or not math.isfinite(high):
        raise ValueError(f"values from {low} to {high}")
    first = non_overflow(low, high, bits)
    if method == Method.NON_OVERFLOW or first == ALL_ZERO:
        return first
    if method == Method.RELATIVE and mode == Mode.DEPTHWISE_WEIGHT:
        scores = [_relative_error(x, bits, first + i, mode) for i in range(CANDIDATES)]
    else:
        scores = _square_errors(x, bits, first, mode)
    return first + int(np.argmin(scores))


def most_frequent(counts: Mapping[int, int]) -> int:
    """The position that most batches chose, the smallest of several."""
    return min(counts, key=lambda position: (-counts[position], position))


def square_error(x: np.ndarray, bits: int, position: int, mode: int) -> float:
    """The sum of the squared differences to the grid, in double precision."""
    error = np.ldexp(rounded(x, bits, position, mode), -position) - x
    return float(np.square(error, out=error).sum())


def _relative_error(x: np.ndarray, bits: int, position: int, mode: int) -> float:
    """The sum of the roots of relative differences; the difference is one of single precision."""
    difference = (quantize(x, bits, position, mode) - x).astype(np.float64)
    return float(np.sqrt(np.abs(difference / (np.abs(x) + 1e-9))).sum())


def _square_errors(x: np.ndarray, bits: int, first: int, mode: int) -> list[float]:
    """The squared errors of the candidates; infinite where an error is known to be above the least."""
    if not all(_is_fast(bits, first + i) for i in range(CANDIDATES)):
        return [square_error(x, bits, first + i, mode) for i in range(CANDIDATES)]
    flat = np.ascontiguousarray(x).reshape(-1)
    scores: list[float] = []
    for i in range(CANDIDATES):
        # Somewhat above the least so far: what is near it must be known in full.
        limit = min(scores, default=math.inf) * (1 + 2 * NEAR)
        parts = over_parts(partial(_squares, flat, first + i, bits, limit), flat.size)
        scores.append(sum(parts))
    best = min(scores)
    near = [i for i, score in enumerate(scores) if score <= best * (1 + NEAR)]
    if len(near) > 1:
        for i in near:
            scores[i] = square_error(flat, bits, first + i, mode)
    return scores


def _squares(flat: np.ndarray, position: int, bits: int, limit: float, part: slice) -> float:
    """The squared error of a part, added up in blocks; infinite once it is above `limit`.

    Which way halves are rounded makes no difference to it. Each difference is exact in single precision.
    """
    scale, (lowest, highest) = np.float32(2.0**position), bounds(bits)
    low, high = np.float32(lowest), np.float32(highest)
    unit, total = 4.0**-position, 0.0
    steps, whole = np.empty((2, BLOCK), np.float32)
    for start in range(part.start, part.stop, BLOCK):
        block = flat[start : min(start + BLOCK, part.stop)]
        a, b = steps[: block.size], whole[: block.size]
        np.multiply(block, scale, out=a)
        np.rint(a, out=b)
        np.minimum(b, high, out=b)
        np.maximum(b, low, out=b)
        np.subtract(b, a, out=b)
        total += float(np.dot(b, b)) * unit
        if total > limit:
            return math.inf
    return total


def _quantize_part(source: np.ndarray, target: np.ndarray, bits: int, position: int) -> None:
    """floor(x * 2^p + 0.5) * 2^-p, cut off, in single precision."""
    scale, step, half = np.float32(2.0**position), np.float32(2.0**-position), np.float32(0.5)
    lowest, highest = bounds(bits)
    # One more on either side: beyond, the sum with a half would not be exact.
    below, above = np.float32(lowest - 1), np.float32(highest + 1)
    buffer = np.empty(min(BLOCK, source.size), np.float32)
    for start in range(0, source.size, BLOCK):
        block = source[start : start + BLOCK]
        steps, out = buffer[: block.size], target[start : start + BLOCK]
        np.multiply(block, scale, out=steps)
        np.minimum(steps, above, out=steps)
        np.maximum(steps, below, out=steps)
        np.add(steps, half, out=out)
        np.floor(out, out=out)
        # The one number whose sum with a half is rounded up to a whole one.
        is_wrong = steps == JUST_BELOW_HALF
        if is_wrong.any():
            out[is_wrong] = 0
        np.minimum(out, np.float32(highest), out=out)
        np.maximum(out, np.float32(lowest), out=out)
        np.multiply(out, step, out=out)


def _is_fast(bits: int, position: int) -> bool:
    """Whether single precision does: steps and their number are normal numbers, and all halves can be written."""
    return bits <= MAX_FAST_BITS and abs(position) <= 120


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="pow2")


def over_parts(function: Callable[[slice], T], size: int) -> list[T]:
    """`function` of slices that make up range(size), on all cores where that is worth it: NumPy lets them."""
    cores = os.cpu_count() or 1
    if size < MANY or cores == 1:
        return [function(slice(0, size))]
    length = -(-size // (cores * BLOCK)) * BLOCK
    return list(_pool().map(function, [slice(i, min(i + length, size)) for i in range(0, size, length)]))
