"""`check`: where each node of an optimized graph would run on a DPU, and what the quantizer would do unsaid."""

from __future__ import annotations

from dnndk_prep.check.findings import find
from dnndk_prep.check.fusion import group
from dnndk_prep.check.judge import judge
from dnndk_prep.check.network import Network
from dnndk_prep.check.partition import partition
from dnndk_prep.check.quantizer import FAMILIES
from dnndk_prep.check.result import CheckResult
from dnndk_prep.dpu.dpus import Dpu


def check(network: Network, dpu: Dpu, family: str = "tf1") -> CheckResult:
    """The verdict on each node of `network` for `dpu`, after the quantizer of `family` (tf1, tf2)."""
    groups = group(network)
    verdicts = judge(network, groups, dpu, family)
    return CheckResult(
        target=f"{dpu.name}, {FAMILIES[family]}",
        nodes=tuple(verdicts.values()),
        subgraphs=partition(network, verdicts),
        findings=find(network, groups, dpu, family),
    )
