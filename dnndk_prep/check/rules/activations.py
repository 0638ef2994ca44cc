"""Activations: with the operator before them, or on their own."""

from __future__ import annotations

from dnndk_prep.check.forms import Form
from dnndk_prep.check.fusion import WEIGHTED
from dnndk_prep.check.network import node_of
from dnndk_prep.check.rules.rule import FILTER, README_TF2, TARGET_FILE, UG1414, Broken, Case
from dnndk_prep.dpu.dpus import Dpu

# The only slope that the DPU computes; the quantizers set a slope of 0.1 to it.
SLOPE, NEAR_SLOPE = 26 / 256, 0.1
SNAPS = {"tf1": 1e-5, "tf2": 1e-7}
# What vai_q_tensorflow2 writes in place of them.
HARD = {"sigmoid": "hsigmoid", "swish": "hswish"}
REMEDIES = {
    "relu_n": "ReLU or ReLU6: no other ceiling runs on the DPU",
    "prelu": "LeakyReLU(0.1) or ReLU: PReLU is quantized, and runs on the CPU",
    "sigmoid": "a hard-sigmoid, ReLU6(x + 3) / 6, where the DPU has it: vai_q_tensorflow --replace_sigmoid 1 writes it",
    "swish": "a hard-swish, x * ReLU6(x + 3) / 6, where the DPU has it: --replace_sigmoid 1 writes it",
    "hard_sigmoid_of_keras": "ReLU6(x + 3) / 6: clip(0.2 x + 0.5) is another function, which no DPU has",
    "hsigmoid": "a DPU of instruction set 1 (Vitis AI 2.5 and later), or ReLU6",
    "hswish": "a DPU of instruction set 1 (Vitis AI 2.5 and later), or ReLU6",
}
OTHERWISE = "ReLU, ReLU6 or LeakyReLU(0.1) in its place, and train again"


def judge(case: Case, core_on_dpu: bool) -> Broken | None:
    """What keeps an activation off the DPU. core_on_dpu: whether the operator that it is joined to runs there."""
    form = case.form
    kind = HARD.get(form.kind, form.kind) if case.family == "tf2" else form.kind
    if kind == "relu_n":
        return Broken("relu.ceiling", "none or 6", f"{form.number:g}", REMEDIES["relu_n"])
    if kind == "clip":
        remedy = "ReLU6, which is the same" if form.number == 6 else REMEDIES["relu_n"]
        return Broken("relu.ceiling", "none, or 6 as ReLU6", f"max(min(x, {form.number:g}), 0)", remedy)
    if kind == "leaky_relu" and (wrong := wrong_slope(form, case.family)) is not None:
        return wrong
    if case.group.nodes:
        return _joined(case, kind) if core_on_dpu else _follows(case, kind)
    return _alone(case, kind)


def wrong_slope(form: Form, family: str) -> Broken | None:
    """A slope that the quantizer does not set to 26/256."""
    slope = form.number if form.number is not None else 0.0
    if abs(slope - SLOPE) <= 1e-7 or abs(slope - NEAR_SLOPE) <= SNAPS[family]:
        return None
    remedy = f"alpha {slope:g} -> 26/256 ({SLOPE:g}), and train again"
    return Broken("leaky_relu.slope", "26/256, or 0.1, which becomes it", f"{slope:g}", remedy)


def engine_activations(dpu: Dpu, kind: str) -> tuple[str, ...]:
    """The activations that are computed with an operator of `kind`."""
    window = {
        "depthwise": dpu.depthwise,
        "scale": dpu.depthwise,
        "max_pool": dpu.max_pool,
        "avg_pool": dpu.avg_pool,
        "global_pool": dpu.avg_pool,
    }.get(kind, dpu.conv)
    if kind in ("add", "multiply"):
        return ("relu",)
    return () if window is None else window.nonlinear


def _follows(case: Case, kind: str) -> Broken | None:
    """What is joined to an operator that runs on the CPU."""
    if on_alu(case.dpu, kind):
        return None
    value = f"behind {case.group.main}, on the CPU"
    return Broken("activation.alone", "behind an operator that runs on the DPU", value, "it goes where that goes")


def _joined(case: Case, kind: str) -> Broken | None:
    allowed = engine_activations(case.dpu, case.group.kind)
    if kind in allowed or on_alu(case.dpu, kind):
        return None
    what = {"relu_six": "ReLU6", "relu": "ReLU", "leaky_relu": "LeakyReLU"}.get(kind, kind)
    remedy = f"one of those behind it, or {what} directly behind a convolution"
    return Broken(f"activation.{case.group.kind}", ", ".join(allowed) or "none", kind, remedy)


def _alone(case: Case, kind: str) -> Broken | None:
    """An activation that no operator before it computes."""
    if kind in ("hsigmoid", "hswish") and _behind_convolution(case, kind):
        return None
    if on_alu(case.dpu, kind):
        return None
    if kind in ("relu", "relu_six", "leaky_relu"):
        value = case.network.maker(case.form.source).op
        remedy = "put it directly behind a convolution, dense layer or sum that nothing else reads"
        return Broken("activation.alone", "behind an operator that runs on the DPU", f"behind {value}", remedy)
    return Broken(f"activation.{kind}", "not on this DPU", kind, REMEDIES.get(kind, OTHERWISE))


def _behind_convolution(case: Case, kind: str) -> bool:
    before = (case.owner or {}).get(node_of(case.form.source))
    on_dpu = (case.placed or {}).get(node_of(case.form.source)) == "dpu"
    return (
        before is not None and on_dpu and before.kind in WEIGHTED and kind in engine_activations(case.dpu, before.kind)
    )


def on_alu(dpu: Dpu, kind: str) -> bool:
    """Whether the ALU computes it from a map: what its list of operators has; a hard-swish is a product besides."""
    if kind == "hswish":
        return on_alu(dpu, "hsigmoid") and "mult" in dpu.eltwise
    if kind not in ("hsigmoid", "leaky_relu"):
        return False
    # DPUCV2DX8G lists templates alone; its ALU's activations tell what they compute.
    templates = "macc_temp" in dpu.alu and dpu.depthwise is not None and kind in dpu.depthwise.nonlinear
    return kind in dpu.alu or templates


# Rows of the table of operators: id, what, its limit in words, source.
IN_WORDS: tuple[tuple[str, str, str, str], ...] = (
    ("relu.ceiling", "ceiling of a ReLU", "none or 6", "Vitis-AI v3.5, vai_q_tensorflow2 vai_utf"),
    ("leaky_relu.slope", "slope of a LeakyReLU", "26/256, or 0.1, which becomes it", f"{README_TF2}; {FILTER}"),
    (
        "activation.conv",
        "joined to a layer",
        "what the convolution engine lists",
        f"{TARGET_FILE} (nonlinear); {UG1414}",
    ),
    ("activation.depthwise", "joined to a depthwise layer", "what its engine lists", f"{TARGET_FILE} (nonlinear)"),
    ("activation.add", "joined to a sum or product", "relu", f"{TARGET_FILE} (eltwise nonlinear)"),
    ("activation.max_pool", "joined to a pool", "what its engine lists", "Vitis-AI v3.5, create_target_v2.cpp"),
    ("activation.alone", "on its own", "leaky_relu and hsigmoid where the ALU has them", f"{TARGET_FILE} (alu_type)"),
    ("activation.hswish", "hard-swish", "hsigmoid and product of maps", f"{TARGET_FILE} (alu_type, eltwise)"),
    ("activation.prelu", "PReLU", "on the CPU", README_TF2),
    ("activation.sigmoid", "sigmoid, swish", "on the CPU; with vai_q_tensorflow2 in their hard form", README_TF2),
)
