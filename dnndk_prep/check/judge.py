"""Where each node runs: on the DPU, on the CPU, or nowhere, with the rule that says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from dnndk_prep.check.fusion import BATCH_NORMS, Group, producers
from dnndk_prep.check.network import Network
from dnndk_prep.check.quantizer import in_float
from dnndk_prep.check.rules import activations, depthwise, joins, layers, others, pools, transposed
from dnndk_prep.check.rules.numbers import numbers_of
from dnndk_prep.check.rules.rule import Broken, Case, Rule
from dnndk_prep.dpu.dpus import Dpu

DPU, CPU, FOLDED = "dpu", "cpu", "folded"
# What computes nothing on the board, and under which rule it is listed.
NOTHING = ("constant", "pass", "unread", "sizes")
Check = Rule | Callable[[Case], Broken | None]
# The checks of each kind of operator, in the order in which they are reported.
CHECKS: Mapping[str, tuple[Check, ...]] = {
    "conv": layers.convolution_rules("conv"),
    "dense": layers.convolution_rules("dense"),
    "depthwise": (depthwise.has_depthwise, *depthwise.DEPTHWISE),
    "transposed": transposed.TRANSPOSED,
    "scale": (depthwise.scale_shape, depthwise.has_depthwise),
    "max_pool": (pools.has_pool, *pools.pool_rules("max_pool")),
    "avg_pool": (pools.has_pool, *pools.pool_rules("avg_pool")),
    "global_pool": (pools.has_pool, *pools.pool_rules("global_pool")),
    "reduce_max": (pools.has_pool, *pools.pool_rules("reduce_max")),
    "add": (joins.eltwise,),
    "multiply": (joins.eltwise,),
    "concat": (joins.CONCAT, joins.concat),
    "resize": (joins.RESIZE, joins.resize),
    "reshape": (joins.reshape,),
    "pad": (joins.pad,),
    "softmax": (joins.softmax,),
    "argmax": (joins.argmax,),
    "shift": (others.shift,),
    "control": (others.control_flow,),
    "other": (others.unknown,),
}


@dataclass(frozen=True)
class Verdict:
    """Where one node runs. limit, value and remedy tell what keeps it off the DPU; they are None where nothing does."""

    node: str
    op: str
    placement: str
    rule: str
    limit: str | None = None
    value: str | None = None
    remedy: str | None = None


def judge(network: Network, groups: Sequence[Group], dpu: Dpu, family: str) -> dict[str, Verdict]:
    """A verdict for each node, in the order of the network."""
    return _Judgement(network, groups, dpu, family).verdicts()


class _Judgement:
    """The verdicts so far; an operator's depends on those before it."""

    def __init__(self, network: Network, groups: Sequence[Group], dpu: Dpu, family: str) -> None:
        self.network, self.groups, self.dpu, self.family = network, groups, dpu, family
        self.owner = {name: one for one in groups for name in one.members}
        self.float = in_float(network, groups, family)
        self.placed: dict[str, str] = {}
        self.found: dict[str, Verdict] = {}

    def verdicts(self) -> dict[str, Verdict]:
        for one in self.groups:
            self._judge(one)
        return {name: self.found[name] for name in self.network.ops}

    def _judge(self, one: Group) -> None:
        if one.kind in NOTHING:
            self._put(one.nodes, FOLDED, one.kind, None)
            return
        case = Case(self.network, one, numbers_of(self.network, one), self.dpu, self.family, self.placed, self.owner)
        if one.kind == "input":
            broken = others.input_layout(case)
            self._put(one.nodes, CPU if broken else FOLDED, "input", broken)
            return
        core = self._core(case) if one.nodes else None
        if one.nodes:
            self._put(one.nodes, self._device(one, core), one.kind, core)
        if one.activation is not None:
            broken = self._activation(case, core is None)
            self._put(one.activation.nodes, CPU if broken else DPU, f"activation.{one.activation.kind}", broken)

    def _core(self, case: Case) -> Broken | None:
        one = case.group
        if one.kind == "reshape" and self._follows_cpu(one):
            return None
        checks: list[Check] = [*CHECKS[one.kind]]
        if one.kind not in ("control", "softmax", "argmax"):
            checks.insert(0, others.layout)
        # What nothing quantizes has the quantizer's word first: the DPU never sees it.
        reason = self.float.get(one.main)
        if reason is not None and one.kind not in ("control", "argmax", "shift"):
            is_number = self.network.ops[one.main].dtype == "float32"
            return (self._first(case, [others.layout]) if is_number else None) or others.not_quantized(case, reason)
        return self._first(case, checks)

    def _activation(self, case: Case, core_on_dpu: bool) -> Broken | None:
        broken = activations.judge(case, core_on_dpu and bool(case.group.nodes))
        if broken is None and not case.group.nodes:
            reason = self.float.get(case.group.main)
            broken = None if reason is None else others.not_quantized(case, reason)
        return broken

    def _first(self, case: Case, checks: Sequence[Check]) -> Broken | None:
        for check in checks:
            broken = check.broken(case) if isinstance(check, Rule) else check(case)
            if broken is not None:
                return broken
        return None

    def _follows_cpu(self, one: Group) -> bool:
        makers = [maker for _, maker in producers(self.network, one, self.owner)]
        return any(maker.kind != "input" and self.placed.get(maker.end) == CPU for maker in makers)

    def _device(self, one: Group, broken: Broken | None) -> str:
        """A reshape moves nothing: it is where its value is."""
        return CPU if broken is not None or (one.kind == "reshape" and self._follows_cpu(one)) else DPU

    def _put(self, names: Sequence[str], placement: str, rule: str, broken: Broken | None) -> None:
        for name in names:
            op = self.network.ops[name].op
            self.placed[name] = placement
            verdict = Verdict(name, op, placement, rule)
            if broken is not None:
                verdict = replace(
                    verdict, rule=broken.rule, limit=broken.limit, value=broken.value, remedy=broken.remedy
                )
            elif op in BATCH_NORMS and rule != "scale":
                verdict = replace(verdict, placement=FOLDED, rule="batch_norm")
            self.found[name] = verdict
