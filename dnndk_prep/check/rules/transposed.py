"""Transposed convolutions."""

from __future__ import annotations

from dnndk_prep.check.rules.layers import (
    fewer_inputs,
    fewer_outputs,
    less_padding,
)
from dnndk_prep.check.rules.rule import (
    FILTER,
    KERAS_LIMITS,
    AtMost,
    Case,
    Exactly,
    Limit,
    Rule,
    Value,
)
from dnndk_prep.dpu.limits import Span


def _ratios(case: Case) -> list[Value]:
    """kernel / stride, and where that is no whole number the next one, too."""
    found: list[Value] = []
    for size, step in zip(case.numbers.kernel, case.numbers.stride, strict=True):
        if size is not None:
            found += [size // step] if size % step == 0 else [size // step, size // step + 1]
    return found


def _transposed_excess(case: Case) -> list[Value]:
    height, width = case.numbers.kernel
    if height is None or width is None:
        return []
    limits = (height, height, width, width)
    return [max(0, side - limit) for side, limit in zip(case.numbers.pads, limits, strict=True)]


def _output_padding(case: Case) -> list[Value]:
    """How far the result is larger than what the image and the kernel reach: the rows that hold nothing but bias."""
    sides = case.numbers.pads[0] + case.numbers.pads[1], case.numbers.pads[2] + case.numbers.pads[3]
    found: list[Value] = []
    for n in range(2):
        image, result, kernel = case.numbers.image[n], case.numbers.result[n], case.numbers.kernel[n]
        if image is not None and result is not None and kernel is not None:
            found.append(max(0, result - ((image - 1) * case.numbers.stride[n] + kernel - sides[n])))
    return found


def _kernel_for_stride(case: Case, value: int, limit: Limit) -> str:
    down, across = case.numbers.stride
    return f"a kernel of 1 to 16 times the stride: {2 * down}x{2 * across} for stride {down}x{across}"


TRANSPOSED: tuple[Rule, ...] = (
    Rule(
        "transposed.ratio",
        "kernel / stride, rounded down and up",
        lambda dpu: Span(((1, 16),)),
        _ratios,
        _kernel_for_stride,
        f"{FILTER}; {KERAS_LIMITS} (kernel / stride in 1-16)",
    ),
    Rule(
        "transposed.channels_in",
        "input channels",
        lambda dpu: AtMost(dpu.channel_limit[0]),
        lambda case: [case.numbers.channels[0]],
        fewer_inputs,
        f"{FILTER} (256 * channel_parallel)",
    ),
    Rule(
        "transposed.channels_out",
        "output channels",
        lambda dpu: AtMost(dpu.channel_limit[1]),
        lambda case: [case.numbers.channels[1]],
        fewer_outputs,
        f"{FILTER} (256 * channel_parallel)",
    ),
    Rule(
        "transposed.padding",
        "zeros on a side beyond the kernel",
        lambda dpu: Exactly(0),
        _transposed_excess,
        less_padding,
        f"{FILTER} (pad <= kernel)",
    ),
    Rule(
        "transposed.output_padding",
        "output padding",
        lambda dpu: Exactly(0),
        _output_padding,
        lambda case, value, limit: "build it without output_padding, with a kernel at least as large as the stride",
        f"{FILTER}; {KERAS_LIMITS}",
    ),
)
