"""One finding, and what it is looked for in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dnndk_prep.check.forms import Form
from dnndk_prep.check.fusion import Group, producers
from dnndk_prep.check.network import Network, Op
from dnndk_prep.check.rules.numbers import Numbers, numbers_of
from dnndk_prep.dpu.dpus import Dpu

ERROR, WARNING, INFO = "error", "warning", "info"


@dataclass(frozen=True)
class Finding:
    """One thing that happens unsaid.

    fix: what mends it in optimize_for_inference.fixes; exact: whether that keeps every number.
    """

    finding: str
    severity: str
    node: str
    what: str
    remedy: str
    fix: str | None = None
    exact: bool = False


@dataclass(frozen=True)
class Scene:
    """What a finding is looked for in."""

    network: Network
    groups: Sequence[Group]
    dpu: Dpu
    family: str
    owner: dict[str, Group]

    def ops(self, *kinds: str) -> Iterator[Op]:
        return (op for op in self.network.ops.values() if op.op in kinds)

    def of_kind(self, *kinds: str) -> Iterator[Group]:
        return (one for one in self.groups if one.kind in kinds)

    def forms(self, kind: str) -> Iterator[tuple[Group, Form]]:
        for one in self.groups:
            if one.activation is not None and one.activation.kind == kind:
                yield one, one.activation

    def before(self, one: Group) -> list[Group]:
        return [maker for _, maker in producers(self.network, one, self.owner)]

    def is_read_once(self, name: str) -> bool:
        """Whether one op alone reads the node, and it is no output."""
        return len(self.network.read_by(name)) == 1 and not self.network.is_output(name)

    def numbers(self, one: Group) -> Numbers:
        return numbers_of(self.network, one)
