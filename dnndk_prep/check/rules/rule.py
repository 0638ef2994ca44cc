"""What a rule is: an operator's number, the DPU's limit for it, and what to do where it is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dnndk_prep.check.forms import Form
from dnndk_prep.check.fusion import Group
from dnndk_prep.check.network import Network
from dnndk_prep.check.rules.numbers import Numbers
from dnndk_prep.dpu.dpus import Dpu

# Where the limits are published.
UG1414 = "UG1414, table of operators of the DPU"
FILTER = "Vitis-AI v3.5, nndct_shared dpu_op_filter.py"
KERAS_LIMITS = "Vitis-AI v3.5, vai_q_tensorflow2 vai_utf/*_limits.py"
TARGET_FILE = "Vitis-AI, target_factory/targets/*.prototxt"
PYXIR = "Xilinx/pyxir, DPUCZDX8G op_support.py"
README_TF2 = "Vitis-AI v3.5, vai_q_tensorflow2 README, table 4"


class Limit(Protocol):
    """The numbers that are allowed; str() is how people read it."""

    def __contains__(self, value: int) -> bool: ...


@dataclass(frozen=True)
class AtMost:
    """0 to `most`."""

    most: int

    def __contains__(self, value: int) -> bool:
        return 0 <= value <= self.most

    def __str__(self) -> str:
        return f"at most {self.most}"


@dataclass(frozen=True)
class Exactly:
    """One number."""

    only: int

    def __contains__(self, value: int) -> bool:
        return value == self.only

    def __str__(self) -> str:
        return str(self.only)


@dataclass(frozen=True)
class Broken:
    """A rule that is not kept: its limit on this DPU, the value that breaks it, and what to do."""

    rule: str
    limit: str
    value: str | None
    remedy: str | None


@dataclass(frozen=True)
class Case:
    """One operator on one DPU, as rules look at it.

    placed: the device of each node so far. family: of the quantizer, tf1 or tf2. owner: the group of each node.
    """

    network: Network
    group: Group
    numbers: Numbers
    dpu: Dpu
    family: str = "tf1"
    placed: Mapping[str, str] | None = None
    owner: Mapping[str, Group] | None = None

    @property
    def form(self) -> Form:
        """The activation. Only for operators that have one."""
        if self.group.activation is None:
            raise ValueError(f"{self.group.main} has no activation")
        return self.group.activation


Value = int | None
# Of the operator, its value and the limit.
Remedy = Callable[[Case, int, Any], str]


@dataclass(frozen=True)
class Rule:
    """One limit on numbers of an operator.

    limit: None where this DPU has no such limit. values: the numbers that must be in it; what the graph does not tell
    is None and breaks nothing. what: the row of the table of operators.
    """

    id: str
    what: str
    limit: Callable[[Dpu], Limit | None]
    values: Callable[[Case], Iterable[Value]]
    remedy: Remedy
    source: str
    # Where the limit does not hold for this very operator.
    unless: Callable[[Case], bool] = lambda case: False
    show: Callable[[Case, int], str] = lambda case, value: str(value)

    def broken(self, case: Case) -> Broken | None:
        """What breaks it, the first of several."""
        limit = self.limit(case.dpu)
        if limit is None or self.unless(case):
            return None
        for value in self.values(case):
            if value is not None and value not in limit:
                return Broken(self.id, str(limit), self.show(case, value), self.remedy(case, value, limit))
        return None


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)
