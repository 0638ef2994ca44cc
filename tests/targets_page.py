"""The page of targets in the reference, written from the tables of the package."""

from __future__ import annotations

import json

from dnndk_prep.dpu import targets
from dnndk_prep.dpu.arch_json import arch_json
from dnndk_prep.dpu.bits import LAYOUTS
from dnndk_prep.dpu.dpus import Dpu, listed
from dnndk_prep.dpu.limits import Window
from dnndk_prep.dpu.resolve import dpu_of
from dnndk_prep.dpu.target_text import ranges
from dnndk_prep.dpu.targets import Board, Toolchain

INTRO = """\
# Targets

Written from the tables in `dnndk_prep/dpu` by `tests/targets_page.py`; each row carries its source there.
`dnndk-prep targets` prints the same, `--json` for programs.

A network is compiled for the fingerprint of a DPU, and the runtime of the board refuses every other. One name can stand
for two fingerprints: `DPUCZDX8G_ISA1_B4096` of Vitis AI 2.5 is `0x101000016010407`, that of 3.0 and 3.5
`0x101000056010407`. On the board, `xdputil query > query.txt`; then `dnndk-prep targets --xdputil query.txt BOARD`
says whether both agree (exit code 0) or not (7), in which bits they differ, and the `arch.json` to compile with. It
reads the output of `show_dpu` and the runtime's own message (`CHECK fingerprint fail`) as well.

A target is written as one of these, in any case:

| words | for example |
|---|---|
| a board | `zcu104` |
| a DPU of a release | `DPUCZDX8G_ISA1_B4096` |
| a fingerprint | `0x1000020f2014404` |
| a file: arch.json, a DCF, or the .hwh of Vivado | `build/arch.json` |

A fingerprint that no release lists becomes a DPU by its bits, where a source documents them.
"""


def page() -> str:
    """The whole page, Markdown."""
    parts = [INTRO, "## Boards\n", _boards()]
    for board in targets.boards():
        parts += [f"### {board.title}\n", _board(board)]
    parts += ["## DPUs of Vitis AI 1.3 to 3.5\n", _WINDOWS, _dpus(), "## Fingerprints\n", _BITS, _bits()]
    return "\n".join(parts)


_WINDOWS = """\
Kernels and strides hold for height and width each. "-" is an operator that the DPU has not.
"""
_BITS = """\
Bits 63-56 are the type, 55-48 the instruction set, and the rest depends on both. Other types and instruction sets are
documented nowhere; their bits 47-0 are compared as one number.
"""


def _boards() -> str:
    rows = [
        [
            f"`{board.name}`",
            board.device,
            board.dpu,
            f"{board.cores} x {board.arch}" + (f" @ {board.mhz} MHz" if board.mhz else ""),
            ranges(chain.name for chain in board.toolchains),
            board.source,
        ]
        for board in targets.boards()
    ]
    return _table(["board", "device", "DPU", "cores x architecture", "toolchains", "source"], rows)


def _board(board: Board) -> str:
    rows = [_row(board, chain) for chain in board.toolchains]
    table = _table(["toolchain", "DPU", "fingerprint", "arch.json or dnnc", "TensorFlow", "source"], rows)
    notes = [f"{board.note}." if board.note else ""]
    notes += [f"{chain.release}: {chain.note}." for chain in board.toolchains if chain.note]
    return "\n".join([table, *(f"{note[0].upper()}{note[1:]}\n" for note in notes if note)])


def _row(board: Board, chain: Toolchain) -> list[str]:
    dpu = dpu_of(board, chain)
    if chain.family == "dnndk":
        words = f"`--dpu={chain.dpu_option}`" if chain.dpu_option else f"`--dcf={chain.dcf}`"
    else:
        words = f"`{json.dumps(arch_json(chain, board.cpu_arch))}`"
    fingerprint = f"`{chain.fingerprint}`" if chain.fingerprint else "-"
    return [f"`{chain.name}`", dpu.name, fingerprint, words, chain.reader, chain.board_source]


def _dpus() -> str:
    head = ["DPU", "releases", "fingerprint", "pixels x in x out", "conv", "depthwise", "max pool", "average pool"]
    rows = [_dpu(dpu) for dpu in listed()]
    return _table([*head, "elementwise", "argmax", "channels at once in the first layer"], rows)


def _dpu(dpu: Dpu) -> list[str]:
    return [
        dpu.name,
        ranges(dpu.releases),
        f"`{dpu.fingerprint}`" if dpu.fingerprint else "-",
        f"{dpu.pixel_parallel} x {dpu.input_channel_parallel} x {dpu.output_channel_parallel}",
        *(_window(window) for window in (dpu.conv, dpu.depthwise, dpu.max_pool, dpu.avg_pool)),
        ", ".join(dpu.eltwise) or "-",
        "yes" if dpu.argmax else "-",
        str(dpu.channel_augmentation or "-"),
    ]


def _window(window: Window | None) -> str:
    if window is None:
        return "-"
    return f"{window.kernel}{' square' if window.square else ''} / {window.stride}"


def _bits() -> str:
    parts = []
    for (family, isa), fields in LAYOUTS.items():
        rows = [[field.bits, f"`{field.name}`"] for field in sorted(fields, key=lambda one: -one.low)]
        parts.append(f"### {family}, instruction set {isa}\n\n{_table(['bits', 'field'], rows)}")
    return "\n".join(parts)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
