"""The DPUs that the Vitis AI releases list, with the limits of their operators, found by name or fingerprint."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from dnndk_prep.dpu.limits import Bank, Span, Window
from dnndk_prep.errors import UsageError, nearest


@dataclass(frozen=True)
class Dpu:
    """One DPU: what its engines do and how large things may be.

    Channels of a feature map go up to 256 times the parallel channels (UG1414, `channel_parallel`). None stands for an
    operator that the DPU has not; the numbers are those of `source`, a target file of a Vitis AI release, the bits of
    a fingerprint, or a board's DCF.
    """

    name: str
    # DPUCZDX8G, DPUCVDX8G, ... and the version of the instruction set.
    family: str
    isa: int
    # The toolchains that know it by this name with these very facts, oldest first; none where `source` is no release.
    releases: tuple[str, ...]
    # 64 bits in lower-case hexadecimal; None before Vitis AI 1.3 and where no source tells.
    fingerprint: str | None
    input_channel_parallel: int
    output_channel_parallel: int
    pixel_parallel: int
    # Images that one core takes at once; None where the release does not say (one).
    batch: int | None
    banks: tuple[Bank, ...]
    conv: Window
    depthwise: Window | None
    max_pool: Window | None
    avg_pool: Window | None
    # Pooling by maxima along one side, kernels of up to 100 x 2, where max_pool does not take the kernel.
    max_reduce: bool
    # Of add, mult, sub.
    eltwise: tuple[str, ...]
    # Pixels that the eltwise engine makes a cycle; None where the ALU does its work.
    eltwise_parallel: int | None
    # What the ALU engine does, in the words of the target file; empty where pooling and depthwise have own engines.
    alu: tuple[str, ...]
    # The save engine finds the index of the largest channel.
    argmax: bool
    # Channels that the first convolution takes at once by channel augmentation; None without it.
    channel_augmentation: int | None
    source: str
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def channel_parallel(self) -> int:
        """The channels that engines other than the convolution take at once."""
        return self.input_channel_parallel

    @property
    def peak_operations(self) -> int:
        """Multiplications and additions of the convolution engine a cycle; `B4096` is named after them."""
        return 2 * self.pixel_parallel * self.input_channel_parallel * self.output_channel_parallel

    @property
    def arch(self) -> str:
        """The architecture by its operations a cycle, `B4096`."""
        return f"B{self.peak_operations}"

    @property
    def image_banks(self) -> tuple[Bank, ...]:
        """The groups of banks that hold feature maps."""
        return tuple(bank for bank in self.banks if bank.name[-1:].isdigit())

    @property
    def conv_weights(self) -> Bank | None:
        """The banks of the convolution's weights."""
        return self._bank("CONVW")

    @property
    def depthwise_weights(self) -> Bank | None:
        """The banks of the depthwise weights; some DPUs keep these in those of the convolution."""
        return self._bank("DWCONVW") or self._bank("CONVW")

    @property
    def channel_limit(self) -> tuple[int, int]:
        """The most input and output channels of one operator."""
        return 256 * self.input_channel_parallel, 256 * self.output_channel_parallel

    def _bank(self, name: str) -> Bank | None:
        return next((bank for bank in self.banks if bank.name == name), None)


@cache
def listed() -> tuple[Dpu, ...]:
    """Every DPU of the target files of Vitis AI 1.3 to 3.5, once for each state of its facts."""
    text = resources.files(__package__).joinpath("dpus.csv").read_text(encoding="utf-8")
    return tuple(_dpu(row) for row in csv.DictReader(text.splitlines()))


def by_name(name: str, release: str | None = None) -> Dpu:
    """The DPU `name` (any case) as `release` knows it, the newest release that does unless given.

    Raises UsageError with the nearest names, or with the releases that know the name.
    """
    states = [dpu for dpu in listed() if dpu.name.lower() == name.lower()]
    if not states:
        near = nearest(name.upper(), sorted({dpu.name for dpu in listed()}))
        raise UsageError(
            f"no Vitis AI release has a DPU {name!r}",
            expected="a target name like DPUCZDX8G_ISA1_B4096",
            found=name,
            remedy=f"did you mean {' or '.join(near)}?" if near else "`dnndk-prep targets --all` lists the names",
        )
    return _of_release(states, release, states[0].name)


def with_fingerprint(fingerprint: str) -> tuple[Dpu, ...]:
    """The states of the DPU that the releases list under `fingerprint` (lower-case hexadecimal), oldest first."""
    found = [dpu for dpu in listed() if dpu.fingerprint == fingerprint]
    return tuple(sorted(found, key=_age))


def _of_release(states: list[Dpu], release: str | None, name: str) -> Dpu:
    newest_last = sorted(states, key=_age)
    if release is None:
        return newest_last[-1]
    for dpu in newest_last:
        if release.lower() in dpu.releases:
            return dpu
    known = [item for dpu in newest_last for item in dpu.releases]
    raise UsageError(
        f"{release} has no DPU {name}",
        expected=f"one of {', '.join(known)}",
        found=release,
        remedy="take the name that this release gives to the DPU, or its fingerprint",
    )


def _age(dpu: Dpu) -> tuple[int, ...]:
    return tuple(int(part) for part in dpu.releases[-1].rpartition("-")[2].split("."))


def _dpu(row: dict[str, str]) -> Dpu:
    alu, pools = tuple(row["alu_types"].split()), row["pool_types"].split()
    engine = _window(row, "alu") if alu else None
    # dpu_op_filter.py of Vitis AI 3.5: an ALU engine does depthwise convolutions whatever its list says. That of
    # DPUCV2DX8G names its templates alone, by which it multiplies and adds (macc) or compares (comp).
    templates = "macc_temp" in alu
    eltwise = row["eltwise_types"].split() or [word.removeprefix("elew_") for word in alu if word.startswith("elew_")]
    return Dpu(
        name=row["name"],
        family=row["family"],
        isa=int(row["isa"]),
        releases=tuple(row["releases"].split()),
        fingerprint=row["fingerprint"] or None,
        input_channel_parallel=int(row["input_parallel"]),
        output_channel_parallel=int(row["output_parallel"]),
        pixel_parallel=int(row["pixel_parallel"]),
        batch=_number(row["batch"]),
        banks=tuple(Bank.parse(word) for word in row["banks"].split()),
        conv=_window(row, "conv"),
        depthwise=engine or (_window(row, "depthwise") if row["depthwise_kernel"] else None),
        max_pool=(engine if "max_pool" in alu or templates else None)
        or (_pool(row, "max") if "max" in pools else None),
        avg_pool=(engine if "avg_pool" in alu or templates else None)
        or (_pool(row, "avg") if "avg" in pools else None),
        max_reduce="max_reduce" in alu or "max_reduce" in pools,
        eltwise=tuple(eltwise),
        eltwise_parallel=_number(row["eltwise_parallel"]),
        alu=alu,
        argmax=row["argmax"] == "yes",
        channel_augmentation=_number(row["augmentation"]),
        source=f"Xilinx/Vitis-AI, {row['source']}",
    )


def _window(row: dict[str, str], engine: str) -> Window:
    return Window(
        kernel=Span.parse(row[f"{engine}_kernel"]),
        stride=Span.parse(row[f"{engine}_stride"]),
        stride_out_h=_span(row.get(f"{engine}_stride_out_h", "")),
        nonlinear=tuple(row[f"{engine}_nonlinear"].split()),
        parallel=_number(row.get(f"{engine}_parallel", "")),
        pad_before=_span(row["pad_before"]) if engine == "alu" else None,
        pad_after=_span(row["pad_after"]) if engine == "alu" else None,
    )


def _pool(row: dict[str, str], kind: str) -> Window:
    return Window(
        kernel=Span.parse(row[f"{kind}_kernel"]),
        stride=Span.parse(row[f"{kind}_stride"]),
        # The pool engine fuses ReLU (create_target_v2.cpp of Vitis AI 3.5).
        nonlinear=("relu",),
        parallel=_number(row["pool_parallel"]),
        # dpu_op_filter.py of Vitis AI 3.5: a pool engine of its own averages over squares alone.
        square=kind == "avg",
    )


def _span(text: str) -> Span | None:
    return Span.parse(text) if text else None


def _number(text: str) -> int | None:
    return int(text) if text else None
