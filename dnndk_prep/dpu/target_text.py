"""The facts of targets as text for a terminal of 100 columns."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from dnndk_prep.dpu import targets

_WIDTH = 100
_WINDOWS = (
    ("conv", "convolution"),
    ("depthwise", "depthwise"),
    ("max_pool", "max pool"),
    ("avg_pool", "average pool"),
)


def boards(facts: list[dict[str, Any]]) -> str:
    """The table of boards."""
    rows = [
        (
            row["name"],
            row["device"],
            row["dpu"],
            f"{row['cores']} x {row['arch']}" + (f" @ {row['mhz']} MHz" if row["mhz"] else ""),
            ranges(row["toolchains"]),
        )
        for row in facts
    ]
    table = _table(("board", "device", "DPU", "cores x architecture", "toolchains"), rows)
    hint = "`targets BOARD` tells more, `--toolchain RELEASE` of one release; `targets --all` lists the DPUs."
    return f"{table}\n\n{hint}"


def dpus(facts: list[dict[str, Any]]) -> str:
    """The table of DPUs."""
    rows = [(row["name"], row["fingerprint"] or "-", ranges(row["releases"])) for row in facts]
    merged: dict[tuple[str, str], list[str]] = {}
    for row, item in zip(rows, facts, strict=True):
        merged.setdefault(row[:2], []).extend(item["releases"])
    rows = [(*key, ranges(names)) for key, names in merged.items()]
    return _table(("DPU", "fingerprint", "listed by"), rows)


def one(facts: dict[str, Any]) -> str:
    """One target: what it is, its limits, its fingerprint bit by bit, notes and sources."""
    board, chain, dpu = facts["board"], facts["toolchain"], facts["dpu"]
    title = f"{board['title']} ({board['device']})" if board else dpu["name"]
    lines = [title + (f" with {chain['release']}" if chain else ""), ""]
    lines += _pairs(_head(board, chain, dpu))
    lines += ["", "Limits", *_pairs(_limits(dpu["limits"]))]
    if facts["bits"]:
        rows = [(row["bits"], row["field"], f"{row['value']:#x}", row["meaning"]) for row in facts["bits"]]
        lines += ["", "Fingerprint, bit by bit", _table(("bits", "field", "value", "meaning"), rows, indent=2)]
    if facts["same_name"]:
        lines += ["", "The same name stands for other fingerprints, whose networks this DPU does not load"]
        lines += [f"  {item['fingerprint']}  {ranges(item['releases'])}" for item in facts["same_name"]]
    lines += ["", "Notes", *_bullets(facts["notes"])] if facts["notes"] else []
    lines += ["", "Sources", *_bullets(facts["sources"])]
    return "\n".join(lines)


def compared(facts: dict[str, Any]) -> str:
    """Two fingerprints, bit by bit."""
    lines = [f"{side['fingerprint']}  {side['name']}{_listed(side['releases'])}" for side in facts["targets"]]
    if facts["same"]:
        return "\n".join([*lines, "", "The same fingerprint: what is compiled for the one loads on the other."])
    end = "What is compiled for the one does not load on the other."
    return "\n".join([*lines, "", _differing(facts["differences"], "first", "second"), "", end])


def board_report(facts: dict[str, Any]) -> str:
    """What a board reports, and whether it loads what is compiled."""
    versions = [("IP", facts["ip_version"]), ("runtime", facts["runtime"])]
    known = ", ".join(f"{name} {text}" for name, text in versions if text)
    lines = [f"The board reports{f' ({known})' if known else ''}"]
    groups = [list(same) for _, same in itertools.groupby(facts["kernels"], key=lambda item: item["fingerprint"])]
    for group in groups:
        kernel = group[0]
        cores = f"{len(group)} x " if len(group) > 1 else ""
        clock = f" @ {kernel['mhz']} MHz" if kernel["mhz"] else ""
        lines.append(f"  {cores}{kernel['fingerprint']}  {kernel['name']}{clock}{_listed(kernel['releases'])}")
    compiled = facts["compiled"]
    if compiled is None:
        lines += ["", "To compile for it, this arch.json:", f"  {json.dumps(groups[0][0]['arch_json'])}", ""]
        return "\n".join([*lines, "Name the board or --toolchain to compare with what is compiled."])
    with_release = f" with {ranges([compiled['toolchain']])}" if compiled["toolchain"] else ""
    lines += [f"{compiled['title']}{with_release} compiles for", f"  {compiled['fingerprint']}  {compiled['name']}", ""]
    if facts["matches"]:
        return "\n".join([*lines, "They match: the board loads what is compiled."])
    lines.append("They do not match: the board refuses what is compiled.")
    for group in groups:
        if not group[0]["matches"]:
            lines += ["", *_mismatch(group[0])]
    return "\n".join(lines)


def ranges(names: Iterable[str]) -> str:
    """Toolchain releases in short, `DNNDK 3.0-3.1, Vitis AI 1.0-3.5`; gaps show."""
    order, known = targets.releases(), set(names)
    parts = []
    for vendor, prefix in (("DNNDK", "dnndk-"), ("Vitis AI", "vitis-ai-")):
        own = [name for name in order if name.startswith(prefix)]
        runs = [
            [name.removeprefix(prefix) for name in run]
            for here, run in itertools.groupby(own, key=known.__contains__)
            if here
        ]
        if runs:
            texts = [run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
            parts.append(f"{vendor} {', '.join(texts)}")
    return ", ".join(parts)


def _head(board: dict[str, Any] | None, chain: dict[str, Any] | None, dpu: dict[str, Any]) -> list[tuple[str, str]]:
    arch = dpu["architecture"]
    cores = ""
    if board:
        cores = f", {board['cores']} core{'s' if board['cores'] > 1 else ''}"
        cores += f" at {board['mhz']} MHz" if board["mhz"] else ""
    batch = f", {arch['batch']} images at once" if (arch["batch"] or 1) > 1 else ""
    pairs = [
        ("DPU", dpu["name"] + cores),
        (
            "architecture",
            f"{arch['pixels']} pixels x {arch['input_channels']} in x {arch['output_channels']} out channels, "
            f"{arch['operations_per_cycle']} operations a cycle{batch}",
        ),
        ("instruction set", f"{dpu['family']} ISA{dpu['isa']}"),
        ("fingerprint", dpu["fingerprint"] or "none: it is described by a DCF"),
    ]
    if dpu["releases"]:
        pairs.append(("listed by", ranges(dpu["releases"])))
    if chain:
        if chain["arch_json"]:
            pairs.append(("arch.json", json.dumps(chain["arch_json"])))
        else:
            pairs.append(("dnnc", chain["dnnc"]))
        pairs += [("graph for", f"TensorFlow {chain['reader']}"), ("image", chain["image"])]
        pairs += [("", chain["image_note"])] if chain["image_note"] else []
    return pairs


def _limits(limits: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [("channels", f"up to {limits['input_channels']} in, {limits['output_channels']} out")]
    pairs += [(title, _window(limits[key])) for key, title in _WINDOWS]
    if limits["conv_weights"]:
        pairs.append(("weights", _weights(limits["conv_weights"])))
    augmentation = limits["channel_augmentation"]
    pairs += [
        ("max along a side", "kernels up to 100 x 2 beyond the limits of max pool" if limits["max_reduce"] else "no"),
        ("elementwise", ", ".join(limits["eltwise"]) or "no"),
        ("argmax", "yes" if limits["argmax"] else "no: on the CPU"),
        ("few channels", f"{augmentation} at once in the first layer" if augmentation else "no channel augmentation"),
    ]
    return pairs


def _window(window: dict[str, Any] | None) -> str:
    if window is None:
        return "no: on the CPU"
    text = f"kernel {window['kernel']}{' square' if window['square'] else ''}, stride {window['stride']}"
    if window["pad_left_top"]:
        text += f", pad {window['pad_left_top']} left and top, {window['pad_right_bottom']} right and bottom"
    return text + (f"; {', '.join(window['activations'])}" if window["activations"] else "")


def _weights(bank: dict[str, int]) -> str:
    times = f" x {bank['words']}" if bank["words"] > 1 else ""
    return f"kernel height x width x ceil(in channels / {bank['width']}){times} up to {bank['depth']}"


def _mismatch(kernel: dict[str, Any]) -> list[str]:
    lines = [_differing(kernel["differences"], "compiled", "board"), ""]
    if kernel["arch_json"]:
        return [*lines, "Compile again with this arch.json:", f"  {json.dumps(kernel['arch_json'])}"]
    return [*lines, *textwrap.wrap(kernel["note"], _WIDTH)]


def _differing(rows: list[dict[str, Any]], first: str, second: str) -> str:
    cells = [(row["bits"], row["field"], row["first"], row["second"]) for row in rows]
    return _table(("bits", "field", first, second), cells)


def _listed(releases: Sequence[str]) -> str:
    return f"  ({ranges(releases)})" if releases else "  (listed by no release)"


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[str]:
    lines = []
    for name, text in pairs:
        wrapped = textwrap.wrap(text, _WIDTH - 20, break_long_words=False, break_on_hyphens=False) or [""]
        lines += [f"  {name:<17} {wrapped[0]}", *(" " * 20 + line for line in wrapped[1:])]
    return lines


def _bullets(texts: Iterable[str]) -> list[str]:
    lines = []
    for text in texts:
        wrapped = textwrap.wrap(text, _WIDTH - 4, break_long_words=False, break_on_hyphens=False)
        lines += [f"  - {wrapped[0]}", *(f"    {line}" for line in wrapped[1:])]
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], indent: int = 0) -> str:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    return "\n".join((" " * indent + line).rstrip() for line in lines)
