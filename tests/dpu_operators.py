"""The table of operators and their limits, as docs/reference/dpu_operators.md holds it: written from the rules."""

from __future__ import annotations

from collections.abc import Iterator

from dnndk_prep.check.findings import LOOKS
from dnndk_prep.check.judge import CHECKS
from dnndk_prep.check.rules import activations, joins, others
from dnndk_prep.check.rules.activations import engine_activations
from dnndk_prep.check.rules.rule import Rule
from dnndk_prep.dpu.dpus import Dpu
from dnndk_prep.dpu.resolve import resolve_target

TARGETS = {
    "ZCU102, ZCU104, KV260, Vitis AI 3.5": ("zcu104", "vitis-ai-3.5"),
    "the same, Vitis AI 2.0": ("zcu104", "vitis-ai-2.0"),
    "ZedBoard, PYNQ-Z2, DNNDK 3.1": ("zedboard", "dnndk-3.1"),
    "VCK190, Vitis AI 3.5": ("vck190", "vitis-ai-3.5"),
    "VEK280, Vitis AI 3.5": ("vek280", "vitis-ai-3.5"),
}
NAMES = {
    "conv": "Convolution",
    "dense": "Dense layer (a convolution whose kernel is the map that is flattened)",
    "depthwise": "Depthwise convolution",
    "transposed": "Transposed convolution",
    "max_pool": "Max pool",
    "avg_pool": "Average pool",
    "global_pool": "Global average pool",
    "reduce_max": "Global max pool",
    "concat": "Concat",
    "resize": "Resize",
}
HEAD = """# Operators of the DPU, and their limits

What `inspect MODEL --target T` holds each operator against, after it is fused as quantizer and compiler fuse it. The
rules and numbers are those that the tests check, just inside and just outside each (`tests/unit/check_cases.py`); this
page is written by the tests from them (`pytest tests/golden --update-golden`). `-` stands for a limit that the DPU has
not, or an operator that it has not at all (`none`).
"""


def table() -> str:
    """The text of docs/reference/dpu_operators.md."""
    dpus = {title: resolve_target(board, release).dpu for title, (board, release) in TARGETS.items()}
    parts = [HEAD]
    for kind, name in NAMES.items():
        rules = [check for check in CHECKS[kind] if isinstance(check, Rule)]
        parts.append(f"\n## {name}\n\n{_row('rule', 'number', *dpus, 'source')}{_row(*['---'] * (len(dpus) + 3))}")
        parts += [_row(f"`{rule.id}`", rule.what, *_limits(rule, dpus), rule.source) for rule in rules]
    parts.append(
        f"\n## Activations that an operator computes\n\n{_row('behind', *dpus)}{_row(*['---'] * (len(dpus) + 1))}"
    )
    for kind in ("conv", "depthwise", "add", "max_pool", "avg_pool"):
        parts.append(_row(NAMES.get(kind, "Sum or product"), *(_activations(dpu, kind) for dpu in dpus.values())))
    parts.append(_row("on its own (ALU)", *(_alu(dpu) for dpu in dpus.values())))
    parts.append(_row("product of two maps", *("yes" if "mult" in dpu.eltwise else "no" for dpu in dpus.values())))
    parts.append(_row("argmax", *("yes" if dpu.argmax else "no" for dpu in dpus.values())))
    parts.append(f"\n## Other rules\n\n{_row('rule', 'what', 'limit', 'source')}{_row(*['---'] * 4)}")
    for words in (activations.IN_WORDS, joins.IN_WORDS, others.IN_WORDS):
        parts += [_row(f"`{rule}`", what, limit, source) for rule, what, limit, source in words]
    parts.append(
        f"\n## Findings\n\nWhat quantizer and compiler do unsaid.\n\n{_row('finding', 'quantizer')}{_row('---', '---')}"
    )
    parts += [_row(*item) for item in _findings()]
    return "".join(parts)


def _limits(rule: Rule, dpus: dict[str, Dpu]) -> Iterator[str]:
    for dpu in dpus.values():
        limit = rule.limit(dpu)
        yield "-" if limit is None else str(limit)


def _activations(dpu: Dpu, kind: str) -> str:
    return ", ".join(engine_activations(dpu, kind)) or "none"


def _alu(dpu: Dpu) -> str:
    return ", ".join(kind for kind in ("leaky_relu", "hsigmoid", "hswish") if activations.on_alu(dpu, kind)) or "none"


def _findings() -> Iterator[tuple[str, str]]:
    names: dict[str, list[str]] = {}
    for family, looks in LOOKS.items():
        for look in looks:
            names.setdefault(look.__name__, []).append(family)
    for name, families in sorted(names.items()):
        yield f"`{name}`", ", ".join(families)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
