"""What is known of targets, as plain values ready for JSON: boards, DPUs, limits, differences, a board's report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dnndk_prep.dpu import targets
from dnndk_prep.dpu.arch_json import arch_json
from dnndk_prep.dpu.dpus import Dpu, listed, with_fingerprint
from dnndk_prep.dpu.fingerprint import differences, explain, is_fingerprint
from dnndk_prep.dpu.limits import Window
from dnndk_prep.dpu.resolve import Target, of_fingerprint, resolve_target, toolchain_for
from dnndk_prep.dpu.targets import Board, Toolchain
from dnndk_prep.dpu.xdputil import BoardReport, Kernel, read_report
from dnndk_prep.errors import UsageError


def every_board(release: str | None = None) -> list[dict[str, Any]]:
    """The boards, those that `release` compiles for where it is given. Raises UsageError for unknown releases."""
    if release is not None:
        targets.require_release(release)
    return [
        {**_board(item), "toolchains": [chain.name for chain in item.toolchains]}
        for item in targets.boards()
        if release is None or release.lower() in {chain.name for chain in item.toolchains}
    ]


def every_dpu(release: str | None = None) -> list[dict[str, Any]]:
    """The DPUs of the target files, those of `release` where it is given. Raises UsageError for unknown releases."""
    if release is not None:
        targets.require_release(release)
    return [
        {"name": dpu.name, "fingerprint": dpu.fingerprint, "releases": list(dpu.releases)}
        for dpu in listed()
        if release is None or release.lower() in dpu.releases
    ]


def one(text: str, release: str | None = None) -> dict[str, Any]:
    """Everything of one target. Raises what resolve_target raises."""
    target = resolve_target(text, release)
    return {
        "board": _board(target.board) if target.board else None,
        "toolchain": _toolchain(target),
        "dpu": dpu_facts(target.dpu),
        "same_name": _same_name(target.dpu),
        "bits": [row.__dict__ for row in explain(target.dpu.fingerprint)] if target.dpu.fingerprint else [],
        "notes": [*([target.board.note] if target.board and target.board.note else []), *target.dpu.notes],
        "sources": _sources(target),
    }


def compared(first: str, second: str, release: str | None = None) -> dict[str, Any]:
    """Two targets by their fingerprints. Raises UsageError for targets without one."""
    sides = []
    for text in (first, second):
        # Only boards and names leave a release to choose.
        dpu = resolve_target(text, None if is_fingerprint(text) else release).dpu
        if dpu.fingerprint is None:
            raise UsageError(
                f"{text} has no fingerprint",
                expected="a target of Vitis AI 1.3 or later",
                found=f"{dpu.name}, which DNNDK and Vitis AI 1.0 to 1.2 describe by a DCF",
                remedy=_with_fingerprints(text),
            )
        sides.append({"target": text, **_identity(dpu)})
    fingerprints = [side["fingerprint"] for side in sides]
    return {
        "targets": sides,
        "same": fingerprints[0] == fingerprints[1],
        "differences": [item.__dict__ for item in differences(fingerprints[0], fingerprints[1])],
    }


def compared_with_board(path: Path, text: str | None, release: str | None) -> dict[str, Any]:
    """What the board of a saved `xdputil query` reports, against what `release` compiles for the target `text`.

    Without a target, the release's DPU of the reported name; without a release either there is nothing to compare:
    `matches` is None. Raises ModelFileError for unreadable reports, UsageError for targets and names without
    fingerprints.
    """
    report = read_report(path)
    compiled = _compiled(report, text, release)
    kernels = [_kernel(kernel, compiled) for kernel in report.kernels]
    return {
        "file": str(path),
        "ip_version": report.ip_version,
        "runtime": report.runtime,
        "compiled": _compiled_facts(compiled),
        "kernels": kernels,
        "matches": None if compiled is None else all(kernel["matches"] for kernel in kernels),
    }


def dpu_facts(dpu: Dpu) -> dict[str, Any]:
    """A DPU with its limits."""
    inputs, outputs = dpu.channel_limit
    return {
        **_identity(dpu),
        "family": dpu.family,
        "isa": dpu.isa,
        "architecture": {
            "name": dpu.arch,
            "pixels": dpu.pixel_parallel,
            "input_channels": dpu.input_channel_parallel,
            "output_channels": dpu.output_channel_parallel,
            "operations_per_cycle": dpu.peak_operations,
            "batch": dpu.batch,
        },
        "banks": [str(bank) for bank in dpu.banks],
        "limits": {
            "input_channels": inputs,
            "output_channels": outputs,
            "conv_weights": _weights(dpu),
            "conv": _window(dpu.conv),
            "depthwise": _window(dpu.depthwise),
            "max_pool": _window(dpu.max_pool),
            "avg_pool": _window(dpu.avg_pool),
            "max_reduce": dpu.max_reduce,
            "eltwise": list(dpu.eltwise),
            "argmax": dpu.argmax,
            "channel_augmentation": dpu.channel_augmentation,
        },
    }


def _weights(dpu: Dpu) -> dict[str, int] | None:
    """The banks of the weights; each step of a kernel takes `words` words of them (dpu_op_filter.py)."""
    bank = dpu.conv_weights
    if bank is None:
        return None
    return {"width": bank.width, "depth": bank.depth, "words": -(-dpu.output_channel_parallel // bank.banks)}


def _identity(dpu: Dpu) -> dict[str, Any]:
    return {"name": dpu.name, "fingerprint": dpu.fingerprint, "releases": list(_releases(dpu))}


def _releases(dpu: Dpu) -> tuple[str, ...]:
    """Every release that lists this name with this fingerprint, whatever else changed."""
    states = [item for item in with_fingerprint(dpu.fingerprint) if item.name == dpu.name] if dpu.fingerprint else []
    return tuple(release for item in states for release in item.releases)


def _same_name(dpu: Dpu) -> list[dict[str, Any]]:
    """Other fingerprints under the same name: what networks of other releases hold."""
    found: dict[str, list[str]] = {}
    for item in listed():
        if item.name == dpu.name and item.fingerprint and item.fingerprint != dpu.fingerprint:
            found.setdefault(item.fingerprint, []).extend(item.releases)
    return [{"fingerprint": key, "releases": names} for key, names in found.items()]


def _board(board: Board) -> dict[str, Any]:
    return {
        "name": board.name,
        "title": board.title,
        "device": board.device,
        "dpu": board.dpu,
        "cores": board.cores,
        "arch": board.arch,
        "mhz": board.mhz,
        "cpu_arch": board.cpu_arch,
    }


def _toolchain(target: Target) -> dict[str, Any] | None:
    chain = target.toolchain
    if chain is None:
        return None
    return {
        "name": chain.name,
        "release": chain.release,
        "reader": chain.reader,
        "image": chain.image,
        "image_note": chain.image_note,
        "compiles_to": chain.compiles_to,
        "dnnc": _dnnc(chain),
        "arch_json": None if chain.family == "dnndk" else arch_json(chain, _cpu(target.board)),
    }


def _dnnc(chain: Toolchain) -> str | None:
    if chain.family != "dnndk":
        return None
    return f"--dpu={chain.dpu_option}" if chain.dpu_option else f"--dcf={chain.dcf}"


def _cpu(board: Board | None) -> str:
    return board.cpu_arch if board else "arm64"


def _window(window: Window | None) -> dict[str, Any] | None:
    if window is None:
        return None
    return {
        "kernel": str(window.kernel),
        "stride": str(window.stride),
        "square": window.square,
        "pad_left_top": str(window.pad_before) if window.pad_before else None,
        "pad_right_bottom": str(window.pad_after) if window.pad_after else None,
        "activations": list(window.nonlinear),
        "pixels_per_cycle": window.parallel,
    }


def _sources(target: Target) -> list[str]:
    texts = [target.board.source] if target.board else []
    if target.toolchain:
        texts += [target.toolchain.source, target.toolchain.board_source]
    return list(dict.fromkeys([*texts, target.dpu.source]))


def _compiled(report: BoardReport, text: str | None, release: str | None) -> Target | None:
    if text is None and release is None:
        return None
    if text is None:
        names = {dpu.name for kernel in report.kernels for dpu in with_fingerprint(kernel.fingerprint)}
        if len(names) != 1:
            raise UsageError(
                "the report alone does not say which DPU is meant",
                expected="a fingerprint that a release lists",
                found=", ".join(kernel.fingerprint for kernel in report.kernels),
                remedy="name the board or the DPU: dnndk-prep targets --xdputil FILE zcu104",
            )
        text = names.pop()
    target = resolve_target(text, release)
    if target.dpu.fingerprint is None:
        raise UsageError(
            f"nothing compiled for {text} holds a fingerprint",
            expected="a release from vitis-ai-1.3 on",
            found=target.toolchain.name if target.toolchain else target.dpu.name,
            remedy=_with_fingerprints(text),
        )
    return target


def _with_fingerprints(text: str) -> str:
    """Which release gives the target a fingerprint."""
    board = next((item for item in targets.boards() if item.name == text.lower()), None)
    names = [chain.name for chain in board.toolchains if chain.fingerprint] if board else []
    if names:
        return f"name a release: --toolchain {names[-1]}"
    return "no release gives it one: compare its DCF with what `dexplorer -w` prints on the board"


def _compiled_facts(target: Target | None) -> dict[str, Any] | None:
    if target is None:
        return None
    return {
        "board": target.board.name if target.board else None,
        "title": target.board.title if target.board else target.dpu.name,
        "toolchain": target.toolchain.name if target.toolchain else None,
        **_identity(target.dpu),
    }


def _kernel(kernel: Kernel, compiled: Target | None) -> dict[str, Any]:
    dpu = of_fingerprint(kernel.fingerprint)
    wanted = compiled.dpu.fingerprint if compiled else None
    facts: dict[str, Any] = {
        "name": dpu.name,
        "reported_as": kernel.arch,
        "fingerprint": kernel.fingerprint,
        "mhz": kernel.mhz,
        "releases": list(_releases(dpu)),
        "matches": None if wanted is None else wanted == kernel.fingerprint,
        "differences": [],
        "arch_json": None,
        "note": None,
    }
    if wanted is None or wanted == kernel.fingerprint:
        chain = compiled.toolchain if compiled else None
        return {**facts, "arch_json": arch_json(chain) if chain else {"fingerprint": kernel.fingerprint}}
    facts["differences"] = [item.__dict__ for item in differences(wanted, kernel.fingerprint)]
    return {**facts, **_remedy(kernel, compiled)}


def _remedy(kernel: Kernel, compiled: Target | None) -> dict[str, Any]:
    """The arch.json with which the compiled release makes what the board loads, or why there is none."""
    if compiled is None or compiled.toolchain is None:
        return {"arch_json": {"fingerprint": kernel.fingerprint}}
    try:
        dpu = of_fingerprint(kernel.fingerprint, compiled.toolchain.name)
    except UsageError as error:
        return {"note": f"{error.problem}; it takes {error.expected}: {error.remedy}"}
    if dpu.notes:
        return {"note": dpu.notes[0]}
    return {"arch_json": arch_json(toolchain_for(dpu, compiled.toolchain.name))}
