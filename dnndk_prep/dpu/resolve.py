"""From what a user writes for a target (board, DPU, fingerprint, arch.json, DCF) to board, toolchain and DPU."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dnndk_prep.dpu import configuration, targets
from dnndk_prep.dpu.dpus import Dpu, by_name, listed, with_fingerprint
from dnndk_prep.dpu.fingerprint import Fingerprint, decode, is_fingerprint, normal
from dnndk_prep.dpu.from_bits import built
from dnndk_prep.dpu.small_files import read_small
from dnndk_prep.dpu.targets import Board, Toolchain
from dnndk_prep.errors import ModelFileError, UsageError, nearest

# An arch.json is a line; a DCF a kilobyte, a .hwh some megabytes.
_JSON_LIMIT = 1 << 16
_HARDWARE_LIMIT = 1 << 26
_HARDWARE = (".dcf", ".hwh")
_NOWHERE = {"board_source": ""}
# The vendor's name for a DPU that no release lists ends in its fingerprint.
_NAMED = re.compile(r"\w+_([0-9A-Fa-f]{16})")
_REFUSED = (
    "the compiler of Vitis AI 2.5 and later refuses instruction set 0 (Xilinx/Vitis-AI-Tutorials issue 92): "
    "compile with 1.3 to 2.0, or put an image of this release on the board"
)


class Target(NamedTuple):
    """What a network is compiled for; `board` and `toolchain` are None where the user's words name neither."""

    board: Board | None
    toolchain: Toolchain | None
    dpu: Dpu


def resolve_target(text: str, toolchain: str | None = None) -> Target:
    """The target that `text` names, with the release `toolchain`, or the newest that knows it.

    `text` is a board (`zcu104`, any case), a DPU (`DPUCZDX8G_ISA1_B4096`), a fingerprint (`0x101000056010407`), or the
    path of an arch.json, a DCF or a .hwh. Raises UsageError with the nearest names for anything else and for releases
    that do not know the target, ModelFileError for files that cannot be read.
    """
    if toolchain is not None:
        targets.require_release(toolchain)
    path = Path(text)
    if path.suffix.lower() in (".json", *_HARDWARE) or "/" in text:
        return _of_file(path, toolchain)
    if is_fingerprint(text) or text.lower().startswith("0x"):
        return _without_board(of_fingerprint(text, toolchain), toolchain)
    if text.lower() in {item.name for item in targets.boards()}:
        board = targets.board(text)
        chain = board.toolchains[-1] if toolchain is None else board.toolchain(toolchain)
        return Target(board, chain, dpu_of(board, chain))
    if match := _NAMED.fullmatch(text):
        return _without_board(of_fingerprint(match[1], toolchain), toolchain)
    if text.lower() in {dpu.name.lower() for dpu in listed()}:
        return _without_board(by_name(text, toolchain), toolchain)
    raise _unknown(text)


def dpu_of(board: Board, toolchain: Toolchain) -> Dpu:
    """The DPU of the board that the toolchain compiles for, with the notes of its row."""
    if toolchain.target:
        dpu = by_name(toolchain.target, toolchain.name)
    elif toolchain.custom_fingerprint:
        dpu = of_fingerprint(toolchain.custom_fingerprint, toolchain.name)
    else:
        assert board.configuration is not None, board.name
        dpu = configuration.configured(board.configuration)
    notes = (toolchain.note,) if toolchain.note else ()
    return replace(dpu, notes=(*dpu.notes, *notes))


def of_fingerprint(text: str, release: str | None = None) -> Dpu:
    """The DPU with this fingerprint as `release` lists it (the newest that does unless given), else by its bits.

    Raises UsageError for what is no fingerprint, and for bits that neither a list nor a source explains.
    """
    fingerprint = normal(text)
    states = with_fingerprint(fingerprint)
    if release is None and states:
        return states[-1]
    for dpu in states:
        if release is not None and release.lower() in dpu.releases:
            return dpu
    parts = decode(fingerprint)
    refused = (parts.family, parts.isa) == ("DPUCZDX8G", 0) and (release is None or _after_2_0(release))
    alike = [dpu for dpu in listed() if (dpu.family, dpu.isa) == (parts.family, parts.isa)]
    if release is not None and not refused and not any(release.lower() in dpu.releases for dpu in alike):
        raise _not_of(release, fingerprint, parts, states or alike)
    dpu = built(fingerprint)
    return replace(dpu, notes=(_REFUSED,)) if refused else dpu


def _not_of(release: str, fingerprint: str, parts: Fingerprint, known: Sequence[Dpu]) -> UsageError:
    order = targets.releases()
    names = sorted({name for dpu in known for name in dpu.releases}, key=order.index)
    return UsageError(
        f"{release} compiles for no {parts.family} ISA{parts.isa}, which {fingerprint} is",
        expected=", ".join(names) or "a known family and instruction set",
        found=release,
        remedy="compile with one of these, or put an image of this release on the board",
    )


def toolchain_for(dpu: Dpu, release: str) -> Toolchain:
    """The release for a DPU of its own: by name where the release lists it, else by fingerprint.

    Raises UsageError for releases that know no fingerprints, and for DPUs without one.
    """
    if dpu.fingerprint is None or not _has_fingerprints(release):
        raise UsageError(
            f"{release} compiles for a DCF, which {dpu.name} has not",
            expected="a release from vitis-ai-1.3 on, or a board of `dnndk-prep targets`",
            found=release,
            remedy="name the board, or the .dcf file",
        )
    is_listed = release.lower() in dpu.releases
    facts = {"target": dpu.name} if is_listed else {"custom_fingerprint": dpu.fingerprint}
    return targets.release(release, {**facts, "board_source": dpu.source})


def _without_board(dpu: Dpu, release: str | None) -> Target:
    if release is None:
        release = dpu.releases[-1] if dpu.releases else None
    return Target(None, None if release is None else toolchain_for(dpu, release), dpu)


def _of_file(path: Path, release: str | None) -> Target:
    if path.suffix.lower() in _HARDWARE:
        return _of_hardware(path, release)
    facts = _arch(path)
    if "fingerprint" in facts:
        return _without_board(of_fingerprint(facts["fingerprint"], release), release)
    if "dcf" in facts:
        return _of_dcf(path, facts["dcf"], release)
    if is_fingerprint(facts["target"]):
        raise ModelFileError(
            f"{path} gives a fingerprint as the target's name, which no compiler takes",
            expected=json.dumps({"fingerprint": normal(facts["target"])}),
            found=json.dumps({"target": facts["target"]}),
            remedy='write "fingerprint" instead of "target"',
        )
    match = _NAMED.fullmatch(facts["target"])
    dpu = of_fingerprint(match[1], release) if match else by_name(facts["target"], release)
    return _without_board(dpu, release)


def _of_dcf(path: Path, dcf: str, release: str | None) -> Target:
    beside = path.parent / dcf
    if beside.is_file():
        return _of_hardware(beside, release)
    for board in targets.boards():
        chains = [
            chain for chain in board.toolchains if Path(chain.stock_dcf or chain.dcf or "-").name == Path(dcf).name
        ]
        if chains:
            chain = chains[-1] if release is None else board.toolchain(release)
            return Target(board, chain, dpu_of(board, chain))
    raise ModelFileError(
        f"{path} names the DCF {dcf}, which is not there",
        expected=str(beside),
        found="no such file, and no board's DCF has this name",
        remedy="put the .dcf beside arch.json",
    )


def _of_hardware(path: Path, release: str | None) -> Target:
    dpu = configuration.configured(read_hardware(path))
    if release is None:
        return Target(None, None, dpu)
    chain = targets.release(release, {"dcf": path.name, "board_source": dpu.source})
    if not chain.takes_dcf:
        raise UsageError(
            f"{chain.release} compiles for no DCF",
            expected=", ".join(name for name in targets.releases() if targets.release(name, _NOWHERE).takes_dcf),
            found=release,
            remedy="name one of these; from Vitis AI 1.3 on a DPU has a fingerprint, which the board's runtime tells",
        )
    return Target(None, chain, dpu)


def read_hardware(path: Path) -> configuration.Configuration:
    """The DPU of a DCF or a .hwh. Raises ModelFileError where there is none."""
    return configuration.parse(_read(path, _HARDWARE_LIMIT), path.name)


def _arch(path: Path) -> dict[str, str]:
    try:
        facts = json.loads(_read(path, _JSON_LIMIT))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{path} is no JSON", expected='{"target": "DPUCZDX8G_ISA1_B4096"}', found=str(error)[:80], remedy="mend it"
        ) from None
    keys = ("target", "fingerprint", "dcf")
    if not isinstance(facts, dict) or not any(key in facts for key in keys):
        raise ModelFileError(
            f"{path} is no arch.json",
            expected='"target", "fingerprint" or "dcf"',
            found=ascii(list(facts)[:5]) if isinstance(facts, dict) else type(facts).__name__,
            remedy='write {"fingerprint": "0x..."} with what `xdputil query` prints on the board',
        )
    wrong = [key for key in keys if key in facts and not isinstance(facts[key], str)]
    if not wrong and "target" in facts and not re.fullmatch(r"\w{1,80}", facts["target"], re.ASCII):
        wrong = ["target"]
    if wrong:
        raise ModelFileError(
            f"{path}: {wrong[0]} is no name",
            expected="a text in quotes, a name or 0x...",
            found=ascii(facts[wrong[0]])[:80],
            remedy="mend it",
        )
    return facts


def _read(path: Path, limit: int) -> bytes:
    return read_small(path, limit, "an arch.json, .dcf or .hwh", "check the path")


def _has_fingerprints(release: str) -> bool:
    order = targets.releases()
    return order.index(release.lower()) >= order.index("vitis-ai-1.3")


def _after_2_0(release: str) -> bool:
    order = targets.releases()
    return order.index(release.lower()) > order.index("vitis-ai-2.0")


def _unknown(text: str) -> UsageError:
    names = [item.name for item in targets.boards()] + sorted({dpu.name for dpu in listed()})
    lower = {name.lower(): name for name in names}
    # The newest instruction set stands last.
    holding = [name for name in reversed(lower) if text and text.lower() in name][:3]
    near = [lower[name] for name in holding or nearest(text.lower(), lower)]
    return UsageError(
        f"there is no target {text!r}",
        expected=f"a board ({', '.join(item.name for item in targets.boards())}), "
        "a DPU's name, a fingerprint (0x...), or an arch.json",
        found=text,
        remedy=f"did you mean {' or '.join(near)}?" if near else "`dnndk-prep targets --all` lists them",
    )
