"""A board of one's own: what the pipeline needs to know of it follows from its DPU's fingerprint, or its DCF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dnndk_prep.dpu import targets
from dnndk_prep.dpu.dpus import Dpu
from dnndk_prep.dpu.fingerprint import is_fingerprint, normal
from dnndk_prep.dpu.resolve import of_fingerprint, read_hardware, toolchain_for
from dnndk_prep.dpu.targets import Board, Toolchain
from dnndk_prep.errors import UsageError

# Before, networks are compiled for a DCF, which lies with the design.
FIRST = "vitis-ai-1.3"
# What the DCF is called in a bundle, whatever its own name: it stands in scripts.
DCF = "dpu.dcf"


def board_of(text: str, dcf: Path | None = None) -> Board:
    """The board that `text` names (any case), or one with the DPU of the fingerprint that it is.

    dcf: the DPU of a design of one's own on the board. Raises UsageError for other names, with the nearest of them, for
    fingerprints that no source explains or no release compiles for, and for a DCF where no toolchain takes one;
    ModelFileError for a DCF that cannot be read.
    """
    if dcf is not None:
        return _with_dcf(for_dcf(board_of(text), dcf), dcf)
    if not is_fingerprint(text):
        return targets.board(text)
    dpu = of_fingerprint(text)
    chains = tuple(_toolchains(normal(text)))
    if not chains:
        raise UsageError(
            f"no release compiles for the DPU {normal(text)}",
            expected="the fingerprint of a DPU of Vitis AI 1.3 or later",
            found=dpu.name,
            remedy="compare it digit by digit with what `xdputil query` prints on the board",
        )
    return Board(
        name=normal(text),
        title=dpu.name,
        device="a design of your own",
        dpu=dpu.family,
        cores=None,
        arch=dpu.arch,
        cpu_arch="arm64",
        source=dpu.source,
        toolchains=chains,
    )


def for_dcf(board: Board, dcf: Path) -> Board:
    """The board with the toolchains alone that compile for a DCF, which is not read.

    Raises UsageError where there are none, and where the file is called otherwise.
    """
    chains = [chain for chain in board.toolchains if chain.takes_dcf]
    if not chains or dcf.suffix.lower() != ".dcf":
        raise UsageError(
            f"{dcf.name} does not go with {board.title}" if not chains else f"{dcf.name} is no DCF",
            expected="the .dcf that dlet makes of a design's .hwh, and a board of DNNDK 3.1 or Vitis AI 1.0 to 1.2",
            found=f"{dcf.name}, {', '.join(chain.name for chain in board.toolchains)}",
            remedy="for later releases give the DPU's fingerprint as target.board",
        )
    own = (replace(chain, dcf=DCF, stock_dcf=None, note=None, board_source=dcf.name) for chain in chains)
    return replace(board, toolchains=tuple(own))


def _with_dcf(board: Board, dcf: Path) -> Board:
    configuration = read_hardware(dcf)
    return replace(
        board,
        cores=configuration.cores,
        arch=configuration.arch,
        mhz=None,
        note=None,
        source=dcf.name,
        configuration=configuration,
    )


def _toolchains(fingerprint: str) -> Iterator[Toolchain]:
    """The releases that compile for the fingerprint, oldest first: each by its own name for it, where it has one."""
    releases = targets.releases()
    for release in releases[releases.index(FIRST) :]:
        dpu = _known_to(release, fingerprint)
        if dpu is not None:
            yield toolchain_for(dpu, release)


def _known_to(release: str, fingerprint: str) -> Dpu | None:
    try:
        dpu = of_fingerprint(fingerprint, release)
    except UsageError:
        return None
    # A note says that this release's compiler refuses it.
    return None if dpu.notes else dpu
