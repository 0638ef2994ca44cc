"""The boards with a DPU and the toolchain releases that compile for each of them, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

from dnndk_prep.dpu.configuration import Configuration
from dnndk_prep.dpu.dpus import by_name
from dnndk_prep.errors import unknown_name

Family = Literal["dnndk", "vitis_ai"]


@dataclass(frozen=True)
class Toolchain:
    """One toolchain release for one DPU; `source` and `board_source` name the public documents of the facts."""

    name: str
    family: Family
    # The TensorFlow release that reads the graph: "1.9", "1.12" or "1.15".
    reader: str
    # The container, and what has to be known about it.
    image: str
    # The quantizer's file that goes to the compiler.
    compile_from: Literal["deploy_model.pb", "quantize_eval_model.pb"]
    compiles_to: Literal["elf", "xmodel"]
    source: str
    board_source: str
    image_note: str | None = None
    # Where the compiler lies as a Python script, if it is no command of its own.
    compiler_script: str | None = None
    # Which DPU it compiles for, one of these: dnnc's --dpu; a DCF, one that the container holds or one that the user
    # has to bring; the name of a DPU that the release lists; a fingerprint.
    dpu_option: str | None = None
    stock_dcf: str | None = None
    dcf: str | None = None
    target: str | None = None
    custom_fingerprint: str | None = None
    # The word for the DPU beside a DCF in arch.json.
    dcf_target: str | None = None
    note: str | None = None

    @property
    def release(self) -> str:
        """The vendor's name of the release: `Vitis AI 3.5`."""
        vendor = {"dnndk": "DNNDK", "vitis_ai": "Vitis AI"}[self.family]
        return f"{vendor} {self.name.rpartition('-')[2]}"

    @property
    def takes_dcf(self) -> bool:
        """Whether its compiler is told the DPU by a DCF: up to Vitis AI 1.2, but DNNDK 3.0 takes `--dpu` alone."""
        return self.compiles_to == "elf" and self.name != "dnndk-3.0"

    @property
    def quantizers(self) -> tuple[str, ...]:
        """The families of its quantizers: tf1, and tf2 where it has one for TensorFlow 2, from Vitis AI 1.3 on."""
        return ("tf1", "tf2") if self.compiles_to == "xmodel" else ("tf1",)

    @property
    def fingerprint(self) -> str | None:
        """What the board's DPU must report (64-bit, hexadecimal); None before Vitis AI 1.3."""
        return by_name(self.target, self.name).fingerprint if self.target else self.custom_fingerprint


@dataclass(frozen=True)
class Board:
    """A board, its DPU as shipped (cores, architecture, MHz; None where nothing tells), and its toolchains."""

    name: str
    title: str
    device: str
    dpu: str
    cores: int | None
    arch: str
    cpu_arch: Literal["arm64", "arm32"]
    source: str
    # From the oldest to the newest release of each family.
    toolchains: tuple[Toolchain, ...]
    mhz: int | None = None
    note: str | None = None
    # The DPU of the toolchains that compile for a DCF; it wins over the architecture's row.
    configuration: Configuration | None = None

    @property
    def size(self) -> str:
        """Cores, architecture and clock in words, as far as they are known: `2 x B4096 at 300 MHz`."""
        cores = f"{self.cores} x {self.arch}" if self.cores is not None else self.arch
        return f"{cores} at {self.mhz} MHz" if self.mhz is not None else cores

    @property
    def families(self) -> tuple[Family, ...]:
        """The vendor families that compile for the board."""
        return tuple(dict.fromkeys(item.family for item in self.toolchains))

    def toolchain(self, name: str) -> Toolchain:
        """The release `name` (any case). Raises UsageError with the nearest names if the board has none such."""
        by_release = {item.name: item for item in self.toolchains}
        try:
            return by_release[name.lower()]
        except KeyError:
            raise unknown_name(f"{self.title} has no toolchain {name!r}", name, list(by_release)) from None

    def newest(self, family: Family) -> Toolchain:
        """The family's newest release for the board. Raises UsageError if the family has none."""
        found = [item for item in self.toolchains if item.family == family]
        if not found:
            raise unknown_name(f"{self.title} has no toolchain of {family!r}", family, list(self.families))
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
        raise unknown_name(f"there is no board {name!r}", name, list(table)) from None


def releases() -> tuple[str, ...]:
    """The names of all toolchain releases, the oldest of each family first."""
    return tuple(_data()["releases"])


def release(name: str, facts: Mapping[str, Any]) -> Toolchain:
    """The release `name` (any case) for a DPU of its own, with the `facts` that a board's row would hold.

    Raises UsageError with the nearest names if there is none such.
    """
    require_release(name)
    return Toolchain(**{**_data()["releases"][name.lower()], "name": name.lower(), **facts})


def require_release(name: str) -> None:
    """Raise UsageError with the nearest names where no toolchain release is called `name` (any case)."""
    if name.lower() not in releases():
        raise unknown_name(f"there is no toolchain {name!r}", name, list(releases()))


@cache
def _data() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("targets.yaml").read_text(encoding="utf-8")
    # libyaml reads it in a tenth of the time; not every PyYAML is built with it.
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def _table() -> dict[str, Board]:
    return {name: _board(name, row) for name, row in _data()["boards"].items()}


def _board(name: str, row: dict[str, Any]) -> Board:
    order = releases()
    chains = []
    for chosen in sorted(row["toolchains"], key=order.index):
        own = dict(row["toolchains"][chosen])
        # The release has a source of its own.
        board_source = own.pop("source")
        chains.append(release(chosen, {**own, "board_source": board_source}))
    configuration = Configuration(**row["configuration"]) if "configuration" in row else None
    return Board(**{**row, "name": name, "toolchains": tuple(chains), "configuration": configuration})
