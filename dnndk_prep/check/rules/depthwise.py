"""Depthwise convolutions, and what becomes one: products with constants, batch norms that no layer took in."""

from __future__ import annotations

from dnndk_prep.check.rules.layers import (
    dilation_rule,
    fewer_outputs,
    kernel,
    padding_rule,
    smaller_kernel,
    smaller_stride,
    stride,
)
from dnndk_prep.check.rules.rule import (
    FILTER,
    TARGET_FILE,
    UG1414,
    AtMost,
    Broken,
    Case,
    Exactly,
    Limit,
    Rule,
    Value,
    ceil_div,
)
from dnndk_prep.dpu.dpus import Dpu
from dnndk_prep.dpu.limits import Span


def _depthwise_depth(dpu: Dpu) -> Limit | None:
    return None if dpu.depthwise is None or dpu.depthwise_weights is None else AtMost(dpu.depthwise_weights.depth)


def _depthwise_words(case: Case) -> list[Value]:
    """An ALU engine loads the weights of one group of channels, a depthwise engine those of all."""
    bank, area, channels = case.dpu.depthwise_weights, case.numbers.area, case.numbers.channels[0]
    if bank is None or area is None or channels is None:
        return []
    if case.dpu.alu:
        return [area * ceil_div(case.dpu.channel_parallel, bank.width)]
    return [area * ceil_div(channels, case.dpu.channel_parallel)]


def _fewer_depthwise(case: Case, value: int, limit: AtMost) -> str:
    parallel, area = case.dpu.channel_parallel, case.numbers.area or 1
    if case.dpu.alu:
        words = value // area
        return f"a smaller kernel: height x width at most {limit.most // words}"
    return f"a smaller kernel, or at most {limit.most // area * parallel} channels"


def _before(case: Case) -> list[Value]:
    top, _, left, _ = case.numbers.pads
    return [top, left]


def _behind(case: Case) -> list[Value]:
    _, bottom, _, right = case.numbers.pads
    return [bottom, right]


def _fewer_zeros(case: Case, value: int, limit: Span) -> str:
    return f"at most {limit.high} zeros: a smaller kernel or padding='valid'"


def alu_padding(kind: str, engine: str) -> tuple[Rule, ...]:
    """Zeros around the image where the engine states how many it takes."""
    return (
        Rule(
            f"{kind}.pad_before",
            "zeros on top and left",
            lambda dpu: window.pad_before if (window := getattr(dpu, engine)) is not None else None,
            _before,
            _fewer_zeros,
            f"{TARGET_FILE} (alu_engine pad_limit)",
        ),
        Rule(
            f"{kind}.pad_after",
            "zeros at the bottom and on the right",
            lambda dpu: window.pad_after if (window := getattr(dpu, engine)) is not None else None,
            _behind,
            _fewer_zeros,
            f"{TARGET_FILE} (alu_engine pad_limit)",
        ),
    )


def _other_rate(case: Case) -> list[Value]:
    return [abs(case.numbers.dilation[0] - case.numbers.dilation[1])]


DEPTHWISE: tuple[Rule, ...] = (
    Rule(
        "depthwise.kernel",
        "kernel height, width",
        lambda dpu: dpu.depthwise.kernel if dpu.depthwise is not None else None,
        kernel,
        smaller_kernel,
        f"{TARGET_FILE} (dwconv or alu kernel_size); {UG1414}",
    ),
    Rule(
        "depthwise.stride",
        "stride",
        lambda dpu: dpu.depthwise.stride if dpu.depthwise is not None else None,
        stride,
        smaller_stride,
        f"{TARGET_FILE} (dwconv or alu stride); {UG1414}",
    ),
    Rule(
        "depthwise.weights",
        "kernel height x width x ceil(channels / channel parallel), with an ALU x ceil(channel parallel / bank width)",
        _depthwise_depth,
        _depthwise_words,
        _fewer_depthwise,
        f"{FILTER} (ISA1); {UG1414} (ISA0)",
    ),
    Rule(
        "depthwise.channels",
        "channels in and out",
        lambda dpu: AtMost(dpu.channel_limit[0]),
        lambda case: list(case.numbers.channels),
        fewer_outputs,
        f"{UG1414} (256 * channel_parallel)",
    ),
    dilation_rule("depthwise"),
    Rule(
        "depthwise.dilation_equal",
        "dilation down less that across",
        lambda dpu: Exactly(0),
        _other_rate,
        lambda case, value, limit: "the same dilation in both directions",
        "Xilinx/Vitis-AI issue 813",
    ),
    padding_rule("depthwise"),
    *alu_padding("depthwise", "depthwise"),
)


def has_depthwise(case: Case) -> Broken | None:
    """A DPU may have been built without the engine."""
    if case.dpu.depthwise is not None:
        return None
    what = "a batch norm that no layer took in" if case.group.kind == "scale" else "a depthwise convolution"
    remedy = (
        "move the batch norm before the ReLU and behind its layer, where it folds: convolution, BN, ReLU"
        if case.group.kind == "scale"
        else "a plain convolution in its place, or a DPU that is built with depthwise convolution"
    )
    return Broken(f"{case.group.kind}.engine", "a depthwise engine", f"{what} on a DPU without", remedy)


def scale_shape(case: Case) -> Broken | None:
    """A product with constants is a depthwise convolution where it has one number a channel, or one for all."""
    op = case.network.ops[case.group.main]
    if op.op != "Mul":
        return None
    shape = next((found for name in op.inputs if (found := case.network.constant_shape(name)) is not None), None)
    if shape is not None and all(size == 1 for size in shape[:-1]):
        return None
    text = "x".join(map(str, shape or ()))
    return Broken("scale.shape", "one number, or one a channel", text, "multiply by one number a channel")
