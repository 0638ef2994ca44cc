"""Convolutions and dense layers: what the convolution engine computes."""

from __future__ import annotations

from dnndk_prep.check.rules.rule import (
    FILTER,
    PYXIR,
    TARGET_FILE,
    UG1414,
    AtMost,
    Case,
    Exactly,
    Limit,
    Rule,
    Value,
    ceil_div,
)
from dnndk_prep.dpu.dpus import Dpu


def kernel(case: Case) -> list[Value]:
    return list(case.numbers.kernel)


def stride(case: Case) -> list[Value]:
    return list(case.numbers.stride)


def _depth(dpu: Dpu) -> Limit | None:
    return None if dpu.conv_weights is None else AtMost(dpu.conv_weights.depth)


def _words(case: Case) -> list[Value]:
    """Words of weights that one pass over the output channels needs in each bank."""
    bank, area, channels = case.dpu.conv_weights, case.numbers.area, case.numbers.channels[0]
    if bank is None or area is None or channels is None:
        return []
    passes = ceil_div(case.dpu.output_channel_parallel, bank.banks)
    return [area * ceil_div(channels, bank.width) * passes]


def smaller_kernel(case: Case, value: int, limit: Limit) -> str:
    height, width = case.numbers.kernel
    if case.group.kind == "dense" or height is None or width is None:
        return f"pool or stride the {height}x{width} map down before it is flattened, or pool it globally"
    for count in range(2, max(height, width)):
        down, across = _part(height, count), _part(width, count)
        if (down in limit or height == 1) and (across in limit or width == 1):
            return f"{count} layers in a row reach as far, each with a kernel of {down}x{across}"
    return f"a kernel of {limit}"


def _part(size: int, count: int) -> int:
    """The kernel that, `count` times in a row, reaches as far as one of `size`."""
    return ceil_div(size - 1, count) + 1


def smaller_stride(case: Case, value: int, limit: Limit) -> str:
    parts = factors(value, limit)
    if parts is None:
        return f"a stride of {limit}: {value} is no product of such"
    return f"split it: a stride of {' and '.join(map(str, parts))} in layers that follow each other"


def factors(value: int, allowed: Limit) -> tuple[int, ...] | None:
    """`value` as a product of allowed numbers above 1, as few and as equal as can be; None where it is none."""
    if value in allowed:
        return (value,)
    found = []
    for first in range(2, int(value**0.5) + 1):
        rest = factors(value // first, allowed) if value % first == 0 and first in allowed else None
        if rest is not None:
            found.append((first, *rest))
    return min(found, key=lambda parts: (len(parts), max(parts)), default=None)


def _fewer_weights(case: Case, value: int, limit: Limit) -> str:
    dpu, bank = case.dpu, case.dpu.conv_weights
    if bank is None:
        raise ValueError("no limit without banks")
    area = case.numbers.area or 1
    most = bank.depth // (area * ceil_div(dpu.output_channel_parallel, bank.banks)) * bank.width
    where = "pool the map down, or have" if case.group.kind == "dense" else "a smaller kernel, or"
    return f"{where} at most {most} input channels; a DPU of more parallel channels than {bank.width} takes more"


def fewer_inputs(case: Case, value: int, limit: AtMost) -> str:
    return f"{ceil_div(value, limit.most)} layers, each on at most {limit.most} of the channels, their results added"


def fewer_outputs(case: Case, value: int, limit: AtMost) -> str:
    return f"{ceil_div(value, limit.most)} layers side by side, each with at most {limit.most} channels"


def _dilation(case: Case) -> list[Value]:
    channels = case.numbers.channels[0]
    return [rate * channels for rate in case.numbers.dilation if rate > 1] if channels is not None else []


def _smaller_dilation(case: Case, value: int, limit: AtMost) -> str:
    channels = case.numbers.channels[0] or 1
    most = limit.most // max(case.numbers.dilation)
    return f"a dilation of at most {limit.most // channels} with {channels} channels, or at most {most} channels"


def _is_dilated(case: Case) -> bool:
    return max(case.numbers.dilation) > 1


def _excess(case: Case) -> list[Value]:
    """Zeros on each side beyond (kernel - 1) * dilation."""
    (height, width), (down, across) = case.numbers.kernel, case.numbers.dilation
    if height is None or width is None:
        return []
    most = (height - 1) * down, (height - 1) * down, (width - 1) * across, (width - 1) * across
    return [max(0, side - limit) for side, limit in zip(case.numbers.pads, most, strict=True)]


def less_padding(case: Case, value: int, limit: Limit) -> str:
    return f"{value} rows or columns of zeros fewer: a window that sees zeros alone adds nothing but its bias"


def convolution_rules(kind: str) -> tuple[Rule, ...]:
    """The rules of the convolution engine; a dense layer runs there with the flattened map as its kernel."""
    rules = (
        Rule(
            f"{kind}.kernel",
            "kernel height, width" + (" (of the map that is flattened)" if kind == "dense" else ""),
            lambda dpu: dpu.conv.kernel,
            kernel,
            smaller_kernel,
            f"{TARGET_FILE} (conv kernel_size); {UG1414}",
        ),
        Rule(
            f"{kind}.weights",
            "kernel height x width x ceil(input channels / bank width) x ceil(output parallel / banks)",
            _depth,
            _words,
            _fewer_weights,
            f"{FILTER} (weights bank); {UG1414}",
        ),
        Rule(
            f"{kind}.channels_in",
            "input channels",
            lambda dpu: AtMost(dpu.channel_limit[0]),
            lambda case: [case.numbers.channels[0]],
            fewer_inputs,
            f"{UG1414} (256 * channel_parallel); {FILTER}",
        ),
        Rule(
            f"{kind}.channels_out",
            "output channels",
            lambda dpu: AtMost(dpu.channel_limit[1]),
            lambda case: [case.numbers.channels[1]],
            fewer_outputs,
            f"{UG1414} (256 * channel_parallel); {FILTER}",
        ),
    )
    if kind == "dense":
        return rules
    return (*rules, *_sliding_rules(kind))


def _sliding_rules(kind: str) -> tuple[Rule, ...]:
    return (
        Rule(
            f"{kind}.stride",
            "stride, unless the kernel is as large as the image",
            lambda dpu: dpu.conv.stride,
            stride,
            smaller_stride,
            f"{TARGET_FILE} (conv stride); {FILTER}",
            unless=lambda case: case.numbers.is_whole,
        ),
        dilation_rule(kind),
        Rule(
            f"{kind}.dilated_stride",
            "stride where it is dilated",
            lambda dpu: Exactly(1),
            stride,
            lambda case, value, limit: "stride 1, and a pool of the stride behind it",
            f"{PYXIR}; PG389",
            unless=lambda case: not _is_dilated(case),
        ),
        padding_rule(kind),
    )


def dilation_rule(kind: str) -> Rule:
    return Rule(
        f"{kind}.dilation",
        "dilation x input channels, where it is dilated",
        lambda dpu: AtMost(dpu.channel_limit[0]),
        _dilation,
        _smaller_dilation,
        f"{UG1414} (dilation * input_channel <= 256 * channel_parallel)",
    )


def padding_rule(kind: str) -> Rule:
    return Rule(
        f"{kind}.padding",
        "zeros on a side beyond (kernel - 1) x dilation",
        lambda dpu: Exactly(0),
        _excess,
        less_padding,
        f"{UG1414} (pad in [0, (kernel - 1) * dilation])",
    )
