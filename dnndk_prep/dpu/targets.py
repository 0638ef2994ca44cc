"""The boards with a DPU and the toolchain releases that compile for each of them, as data."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from dnndk_prep.errors import UsageError, nearest

Family = Literal["dnndk", "vitis_ai"]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Toolchain(_Row):
    """One toolchain release for one board; `source` and `board_source` name the public documents of the facts."""

    name: str
    family: Family
    # The TensorFlow release that reads the graph: "1.9", "1.12" or "1.15".
    reader: str
    # The container, and what has to be known about it.
    image: str
    image_note: str | None = None
    # The quantizer's file that goes to the compiler.
    compile_from: Literal["deploy_model.pb", "quantize_eval_model.pb"]
    compiles_to: Literal["elf", "xmodel"]
    # Where the compiler lies as a Python script, if it is no command of its own.
    compiler_script: str | None = None
    # Which DPU it compiles for: one of these three. With `arch`, `dcf` is a file that the user has to bring.
    dpu_option: str | None = None
    dcf: str | None = None
    arch: dict[str, str] | None = None
    # What the board's DPU reports (64-bit, hexadecimal); None before Vitis AI 1.3.
    fingerprint: str | None = None
    note: str | None = None
    source: str
    board_source: str

    @property
    def release(self) -> str:
        """The vendor's name of the release: `Vitis AI 3.5`."""
        vendor = {"dnndk": "DNNDK", "vitis_ai": "Vitis AI"}[self.family]
        return f"{vendor} {self.name.rpartition('-')[2]}"


class Board(_Row):
    """A board, its DPU as shipped (cores, architecture, MHz; None where no source tells), and its toolchains."""

    name: str
    title: str
    device: str
    dpu: str
    cores: int
    arch: str
    mhz: int | None = None
    cpu_arch: Literal["arm64", "arm32"]
    source: str
    # From the oldest to the newest release of each family.
    toolchains: tuple[Toolchain, ...]

    @property
    def families(self) -> tuple[Family, ...]:
        """The vendor families that compile for the board."""
        return tuple(dict.fromkeys(item.family for item in self.toolchains))

    def toolchain(self, name: str) -> Toolchain:
        """The release `name` (any case). Raises UsageError with the nearest names if the board has none such."""
        by_name = {item.name: item for item in self.toolchains}
        try:
            return by_name[name.lower()]
        except KeyError:
            raise _unknown(f"{self.title} has no toolchain {name!r}", name, list(by_name)) from None

    def newest(self, family: Family) -> Toolchain:
        """The family's newest release for the board. Raises UsageError if the family has none."""
        found = [item for item in self.toolchains if item.family == family]
        if not found:
            raise _unknown(f"{self.title} has no toolchain of {family!r}", family, list(self.families))
        return found[-1]

    def chosen(self, name: str | None = None) -> tuple[Toolchain, ...]:
        """One toolchain for each family: the release `name` in its family, the newest release in the others."""
        wanted = None if name is None else self.toolchain(name)
        return tuple(
            wanted if wanted is not None and wanted.family == family else self.newest(family)
            for family in self.families
        )


def boards() -> tuple[Board, ...]:
    """All boards."""
    return tuple(_table().values())


def board(name: str) -> Board:
    """The board `name` (any case). Raises UsageError with the nearest names if it is not known."""
    table = _table()
    try:
        return table[name.lower()]
    except KeyError:
        raise _unknown(f"there is no board {name!r}", name, list(table)) from None


def _unknown(problem: str, name: str, known: list[str]) -> UsageError:
    near = nearest(name.lower(), known)
    return UsageError(
        problem,
        expected=f"one of {', '.join(known)}",
        found=name,
        remedy=f"did you mean {' or '.join(near)}?" if near else "choose one of these",
    )


@cache
def _table() -> dict[str, Board]:
    text = resources.files(__package__).joinpath("targets.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    return {name: _board(name, row, data["releases"]) for name, row in data["boards"].items()}


def _board(name: str, row: dict[str, Any], releases: dict[str, dict[str, Any]]) -> Board:
    merged = []
    for release, own in row["toolchains"].items():
        own = dict(own)
        facts = {**releases[release], "name": release, "board_source": own.pop("source")}
        merged.append(Toolchain(**facts, **own))
    # The order of `releases` is the order in time.
    order = list(releases)
    merged.sort(key=lambda item: order.index(item.name))
    return Board(**{**row, "name": name, "toolchains": tuple(merged)})
