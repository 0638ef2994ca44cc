"""The 64 bits by which a compiled network and a DPU know each other: decoded, encoded, explained, compared.

The layout is that of Xilinx/Vitis-AI 3.5, src/vai_runtime/target_factory/src: the type of the DPU in bits 63-56, the
version of its instruction set in 55-48, and 48 bits of features below, which mean other things in each instruction set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dnndk_prep.dpu.bits import LAYOUTS, UNDOCUMENTED, Field, meaning
from dnndk_prep.errors import UsageError, unknown_name

# target_factory.cpp, `type2int`; IPU_PHX are the AIE2 overlays, which the 3.0 files call IPUCVDX8G.
FAMILIES: Mapping[int, str] = {
    1: "DPUCZDX8G",
    2: "DPUCAHX8H",
    3: "DPUCAHX8L",
    4: "DPUCZDI4G",
    5: "DPUCVDX8H",
    6: "DPUCVDX8G",
    7: "DPUCADF8H",
    8: "IPU_PHX",
    9: "DPUCV2DX8G",
}
_TYPES = {name: number for number, name in FAMILIES.items()}
_FEATURES = (1 << 48) - 1


@dataclass(frozen=True)
class Fingerprint:
    """A fingerprint's parts: `fields` by name, as numbers; what no source documents stays together in one."""

    family: str
    isa: int
    fields: Mapping[str, int]

    @property
    def documented(self) -> bool:
        """Some source tells what the bits of this family and instruction set mean."""
        return (self.family, self.isa) in LAYOUTS


@dataclass(frozen=True)
class Row:
    """One field of a fingerprint: its bits (`63-56`), its number and what this means."""

    field: str
    bits: str
    value: int
    meaning: str


@dataclass(frozen=True)
class Difference:
    """A field in which two fingerprints differ, in words; "-" where a side has no such field."""

    field: str
    bits: str
    first: str
    second: str


def is_fingerprint(text: str) -> bool:
    """`text` is written as a fingerprint: 0x and up to 16 hexadecimal digits, or 15 or 16 of them alone."""
    return re.fullmatch(r"0x[0-9a-f]{1,16}|[0-9a-f]{15,16}", text.strip(), re.IGNORECASE) is not None


def normal(text: str) -> str:
    """The fingerprint in lower-case hexadecimal without leading zeros, `0x101000016010407`.

    Raises UsageError for what is no fingerprint.
    """
    if not is_fingerprint(text):
        raise UsageError(
            f"{text!r} is no fingerprint",
            expected="0x and up to 16 hexadecimal digits, as `xdputil query` prints it",
            found=text,
            remedy="copy it from the board, for example 0x101000056010407",
        )
    return hex(int(text, 16))


def decode(text: str) -> Fingerprint:
    """Take a fingerprint apart. Raises UsageError for what is none, and for types that no source knows."""
    value = int(normal(text), 16)
    number, isa, features = value >> 56, value >> 48 & 0xFF, value & _FEATURES
    if number not in FAMILIES:
        raise UsageError(
            f"no DPU has type {number}",
            expected=", ".join(f"{key} {name}" for key, name in FAMILIES.items()),
            found=hex(value),
            remedy="the first digits give the type: 0x1... is DPUCZDX8G; is a digit lost, or is there one too many?",
        )
    family = FAMILIES[number]
    fields = {item.name: features >> item.low & item.mask for item in layout(family, isa)}
    fields[UNDOCUMENTED] = features & ~_known(family, isa)
    return Fingerprint(family, isa, fields)


def encode(family: str, isa: int, fields: Mapping[str, int]) -> str:
    """Put a fingerprint together; fields that are not given are 0.

    Raises UsageError for unknown families and fields, and for numbers that their bits cannot hold.
    """
    if family not in _TYPES:
        raise unknown_name(f"{family!r} is no family of DPUs", family, _TYPES)
    by_name = {item.name: item for item in layout(family, isa)}
    features = 0
    for name, value in fields.items():
        if name == UNDOCUMENTED:
            _fits(name, value, _FEATURES & ~_known(family, isa))
            features |= value
        elif name in by_name:
            _fits(name, value, by_name[name].mask)
            features |= value << by_name[name].low
        else:
            problem = f"{name!r} is no field in the fingerprints of {family} ISA{isa}"
            raise unknown_name(problem, name, [*by_name, UNDOCUMENTED])
    _fits("isa", isa, 0xFF)
    return hex(_TYPES[family] << 56 | isa << 48 | features)


def layout(family: str, isa: int) -> tuple[Field, ...]:
    """The fields below bit 48; none where no source documents them."""
    return LAYOUTS.get((family, isa), ())


def explain(text: str) -> tuple[Row, ...]:
    """Every field with its bits, number and meaning, from the highest bits to the lowest."""
    value, parts = int(normal(text), 16), decode(text)
    rows = [
        Row("type", "63-56", value >> 56, parts.family),
        Row("isa", "55-48", parts.isa, f"instruction set {parts.isa}"),
    ]
    for item in sorted(layout(parts.family, parts.isa), key=lambda one: -one.low):
        number = parts.fields[item.name]
        rows.append(Row(item.name, item.bits, number, meaning(parts.family, item.name, number)))
    rest = parts.fields[UNDOCUMENTED]
    if not parts.documented:
        rows.append(Row("feature_code", "47-0", rest, "no source tells what these bits mean"))
    elif rest:
        rows.append(Row(UNDOCUMENTED, _places(rest), rest, "set, and no source tells what for"))
    return tuple(rows)


def differences(first: str, second: str) -> tuple[Difference, ...]:
    """Where two fingerprints differ, field by field in words; fields of the same name are held against each other."""
    a, b = ({row.field: row for row in explain(text)} for text in (first, second))
    found = []
    places = {name: row.bits for name, row in (*b.items(), *a.items())}
    for name in sorted(places, key=lambda one: -int(re.split("[- ]", places[one])[0])):
        left, right = a.get(name), b.get(name)
        if left is not None and right is not None and left.value == right.value and left.meaning == right.meaning:
            continue
        bits = {row.bits: None for row in (left, right) if row is not None}
        texts = ["-" if row is None else row.meaning for row in (left, right)]
        if left is not None and right is not None and texts[0] == texts[1]:
            texts = [hex(left.value), hex(right.value)]
        found.append(Difference(name, " / ".join(bits), *texts))
    return tuple(found)


def _known(family: str, isa: int) -> int:
    mask = 0
    for item in layout(family, isa):
        mask |= item.mask << item.low
    return mask


def _places(value: int) -> str:
    return " ".join(str(bit) for bit in range(47, -1, -1) if value >> bit & 1)


def _fits(name: str, value: int, mask: int) -> None:
    if value < 0 or value & ~mask:
        raise UsageError(f"{name}: {value} does not fit its bits", expected=f"bits of {hex(mask)}", found=hex(value))
