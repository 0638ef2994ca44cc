"""What a user can ask of the quantizer, under the names of vai_q_tensorflow's flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dnndk_prep.errors import UsageError
from dnndk_prep.graph.fix_neurons import MAX_BITS

# The values that a flag can have, beside the widths.
CHOICES = {
    "method": (0, 1, 2),
    "align_concat": (0, 1, 2),
    "align_pool": (0, 1, 2),
    "adjust_shift_cut": (0, 1),
    "adjust_shift_bias": (0, 1, 2),
    "simulate_dpu": (0, 1),
    "scale_all_avgpool": (0, 1),
    "do_cle": (0, 1),
    "replace_relu6": (0, 1),
    "replace_sigmoid": (0, 1),
}
WIDTHS = ("weight_bit", "activation_bit")


@dataclass(frozen=True)
class Settings:
    """The flags with the vendor's defaults; what each number means stands in vai_q_tensorflow's help.

    Raises UsageError for a number that the vendor's tool would not take.
    """

    method: int = 1
    weight_bit: int = 8
    activation_bit: int = 8
    # By name: a layer (its weights), or the node that a FixNeuron follows.
    nodes_bit: Mapping[str, int] = field(default_factory=dict)
    nodes_method: Mapping[str, int] = field(default_factory=dict)
    # 0: all, 1: those that are outputs, 2: none.
    align_concat: int = 0
    align_pool: int = 0
    adjust_shift_cut: int = 1
    # 0: not, 1: the limit that follows from the shift of the result, 2: that which follows from the kernel's size.
    adjust_shift_bias: int = 1
    simulate_dpu: int = 1
    scale_all_avgpool: int = 1
    do_cle: int = 0
    # Acts with do_cle alone.
    replace_relu6: int = 1
    replace_sigmoid: int = 0
    ignore_nodes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            _require(f"--{name}", getattr(self, name), known)
        for name in WIDTHS:
            _require_width(f"--{name}", getattr(self, name))
        for name, bits in self.nodes_bit.items():
            _require_width(f"--nodes_bit {name}", bits)
        for name, method in self.nodes_method.items():
            _require(f"--nodes_method {name}", method, CHOICES["method"])

    def changed(self) -> dict[str, object]:
        """The flags that differ from their defaults."""
        return {key: value for key, value in vars(self).items() if value != getattr(Settings(), key)}


def node_numbers(text: str, flag: str) -> dict[str, int]:
    """`name:number,name:number` as the vendor writes it. Raises UsageError for anything else."""
    found: dict[str, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, colon, number = item.rpartition(":")
        if not colon or not name or not number.strip().isdecimal():
            raise UsageError(f"{flag} {item} is no pair", expected=f"{flag} NODE:NUMBER,NODE:NUMBER", found=item)
        found[name.strip()] = int(number)
    return found


def _require(flag: str, value: int, known: tuple[int, ...]) -> None:
    if value not in known or isinstance(value, bool):
        raise UsageError(f"{flag} {value} is no choice", expected=", ".join(map(str, known)), found=str(value))


def _require_width(flag: str, bits: int) -> None:
    if not 2 <= bits <= MAX_BITS:
        raise UsageError(f"{flag} {bits} is no width", expected=f"2 to {MAX_BITS} bits", found=str(bits))
