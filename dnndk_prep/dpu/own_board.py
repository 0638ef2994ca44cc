"""A board of one's own: what the pipeline needs to know of it follows from its DPU's fingerprint."""

from __future__ import annotations

from collections.abc import Iterator

from dnndk_prep.dpu import targets
from dnndk_prep.dpu.dpus import Dpu
from dnndk_prep.dpu.fingerprint import is_fingerprint, normal
from dnndk_prep.dpu.resolve import of_fingerprint, toolchain_for
from dnndk_prep.dpu.targets import Board, Toolchain
from dnndk_prep.errors import UsageError

# Before, networks are compiled for a DCF, which lies with the design.
FIRST = "vitis-ai-1.3"


def board_of(text: str) -> Board:
    """The board that `text` names (any case), or one with the DPU of the fingerprint that it is.

    Raises UsageError for other names, with the nearest of them, and for fingerprints that no source explains or no
    release compiles for.
    """
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
