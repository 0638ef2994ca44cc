"""Which code of `dnndk-prep explain` tells more about a rule or a finding of the check."""

from __future__ import annotations

from collections.abc import Mapping

BATCH_NORM, SLOPE, ACTIVATION, INPUT = "K2D-0008", "K2D-0012", "K2D-0014", "K2D-0015"
SIZES, SHARED, LAYOUT, LOOPS = "K2D-0016", "K2D-0017", "K2D-0020", "K2D-0021"
DILATION, RESIZE, TRAINING = "K2D-0022", "K2D-0023", "K2D-0001"
# The rules that begin so; the first that fits.
_RULES: Mapping[str, str] = {
    "leaky_relu.": SLOPE,
    "relu.": ACTIVATION,
    "activation.": ACTIVATION,
    "input.rank": INPUT,
    "input.size": SIZES,
    "layout.rank": INPUT,
    "layout.channels": LAYOUT,
    "control_flow": LOOPS,
    "conv.dilat": DILATION,
    "depthwise.dilat": DILATION,
    "resize.": RESIZE,
    "scale.engine": BATCH_NORM,
}
_FINDINGS: Mapping[str, str] = {
    "channels_first": LAYOUT,
    "depthwise_multiplier": BATCH_NORM,
    "half_pixels": RESIZE,
    "hard_sigmoid": ACTIVATION,
    "integer_concat": SIZES,
    "leaky_form": SLOPE,
    "leaky_slope": SLOPE,
    "left_batch_norm": BATCH_NORM,
    "leftover_placeholder": TRAINING,
    "mean_after_norm": BATCH_NORM,
    "relu_ceiling": ACTIVATION,
    "shared_layer": SHARED,
}


def code_of_rule(rule: str) -> str | None:
    """The code of a rule of the table of operators; None where no code has a cause of its own for it."""
    return next((code for start, code in _RULES.items() if rule.startswith(start)), None)


def code_of_finding(finding: str) -> str | None:
    """The code of a finding, or None."""
    return _FINDINGS.get(finding)
