"""Builds the report: what each stage did, how long it took, and how far its graph is from the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from dnndk_prep import templates
from dnndk_prep.dpu.targets import Board, Toolchain

# A folder with more files than this is one line of the artifacts' table.
MANY_FILES = 10
NONE = "-"
# The graphs of the quantize stage, and how accuracy is told of each.
QUANTIZED = ("vendor", "best")
SHARES = ("top1", "top5", "mean_iou")


@dataclass(frozen=True)
class ReportFacts:
    """The content of the stages' stage.json in the stages' order, and the target."""

    stages: tuple[Mapping[str, Any], ...]
    board: Board
    toolchains: tuple[Toolchain, ...]


def render(facts: ReportFacts) -> str:
    """The report in Markdown. What users named (files, nodes, reasons) cannot break its tables."""
    return templates.render(
        "report.md.j2",
        {
            "board": facts.board,
            "toolchains": facts.toolchains,
            "stages": [_stage_row(stage) for stage in facts.stages],
            "accuracy": [row for stage in facts.stages for row in _accuracy_rows(stage)],
            "differences": [row for stage in facts.stages for row in _difference_rows(stage)],
            "nodes": [row for stage in facts.stages for row in _node_rows(stage)],
            "rewrites": [row for stage in facts.stages for row in _rewrite_rows(stage)],
            "findings": [(stage["stage"], text) for stage in facts.stages for text in stage["warnings"]],
            "checks": [item for stage in facts.stages for item in stage["facts"].get("checks", ())],
            "quantized": [item for stage in facts.stages if (item := _quantized(stage))],
            "bundles": [item for stage in facts.stages for item in stage["facts"].get("bundles", ())],
            "saved_models": [item for stage in facts.stages if (item := stage["facts"].get("saved_model"))],
            "artifacts": [(stage["stage"], *row) for stage in facts.stages for row in _artifact_rows(stage)],
            "versions": sorted({item for stage in facts.stages for item in stage["versions"].items()}),
        },
    )


def as_json(facts: ReportFacts) -> dict[str, Any]:
    """The same facts for programs."""
    return {
        "board": facts.board.name,
        "toolchains": [toolchain.name for toolchain in facts.toolchains],
        "stages": [{key: value for key, value in stage.items() if key != "fingerprint"} for stage in facts.stages],
    }


def _stage_row(stage: Mapping[str, Any]) -> dict[str, Any]:
    count = len(stage["warnings"])
    artifacts = stage["artifacts"].values()
    return {
        "name": stage["stage"],
        "status": "done" if not count else f"done, {count} warning{'s' if count > 1 else ''}",
        "seconds": f"{stage['seconds']:.1f}",
        "files": len(artifacts),
        "size": _size(sum(item["bytes"] for item in artifacts)),
    }


def _proof(stage: Mapping[str, Any]) -> Mapping[str, Any]:
    return stage["facts"].get("proof") or {}


def _accuracy_rows(stage: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    accuracy = _proof(stage).get("accuracy")
    if accuracy:
        yield _accuracy_row(stage["stage"], accuracy)
    for item in stage["facts"].get("fixes", ()):
        if item["accuracy"]:
            yield _accuracy_row(f"{stage['stage']}, fix {item['fix']}", item["accuracy"])
    for name, found in stage["facts"].get("accuracy", {}).items():
        # The float graph has its row under the stage that made it.
        if name in QUANTIZED:
            yield _accuracy_row(f"{stage['stage']}, {name} int8", found)


def _quantized(stage: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the section about quantization tells; None for another stage, and where nothing was quantized."""
    facts = stage["facts"]
    if not facts.get("fix_neurons"):
        return None
    measured = {name: found for name, found in facts["accuracy"].items() if isinstance(found, Mapping)}
    rows = [(name, *(_share(found[key]) for key in SHARES), found["images"]) for name, found in measured.items()]
    flags = [f"--{name} {value}" for name, value in facts["flags"].items()]
    return {**facts, "rows": rows, "flags": ", ".join(flags), "reason": facts["accuracy"].get("reason")}


def _share(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f} %"


def _accuracy_row(after: str, accuracy: Mapping[str, Any]) -> tuple[str, str, str]:
    if accuracy["top1"] is None:
        return after, f"not measured: {accuracy['reason'] or 'no reason given'}", NONE
    return after, f"{100 * accuracy['top1']:.2f} %", str(accuracy["images"])


def _difference_rows(stage: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """The probe's row, and the test part's where it was run; stage, what was fed, difference, tolerance."""
    proof = _proof(stage)
    if probe := proof.get("probe"):
        tolerance = _number(probe.get("tolerance"))
        yield stage["stage"], f"probe: {probe.get('source') or 'batch'}", _number(probe["max_abs_diff"]), tolerance
    if test := proof.get("test"):
        yield stage["stage"], "test images", _number(test["max_abs_diff"]), _number(test.get("tolerance"))
    for item in stage["facts"].get("fixes", ()):
        what = f"{item['fed']}, fix {item['fix']} against the graph without it ({len(item['nodes'])} nodes)"
        yield stage["stage"], what, _number(item["max_abs_diff"]), _number(item["tolerance"])
    for item in stage["facts"].get("bundles", ()):
        what = f"{item.get('fed', 'first calibration batch')}, for {item['toolchain']}"
        yield stage["stage"], what, _number(item["max_abs_diff"]), _number(item["tolerance"])
    saved = stage["facts"].get("saved_model") or {}
    if through := saved.get("proof"):
        what = f"probe, through {saved['folder']}"
        yield stage["stage"], what, _number(through["max_abs_diff"]), _number(through["tolerance"])


def _node_rows(stage: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    if nodes := stage["facts"].get("nodes"):
        yield stage["stage"], nodes["before"], nodes["after"]


def _rewrite_rows(stage: Mapping[str, Any]) -> Iterator[tuple[str, int, int, str]]:
    for item in stage["facts"].get("rewrites") or ():
        yield item["name"], item["before"], item["after"], _number(item["max_abs_diff"])


def _artifact_rows(stage: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, size and the hash's beginning; a folder of many files is one row without a hash."""
    folders: dict[str, list[str]] = {}
    for name in stage["artifacts"]:
        folders.setdefault(str(PurePosixPath(name).parent), []).append(name)
    for folder, names in folders.items():
        if folder != "." and len(names) > MANY_FILES:
            total = sum(stage["artifacts"][name]["bytes"] for name in names)
            yield f"{folder}/ ({len(names)} files)", _size(total), NONE
        else:
            yield from _file_rows(stage["artifacts"], names)


def _file_rows(artifacts: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for name in names:
        yield name, _size(artifacts[name]["bytes"]), artifacts[name]["sha256"][:12]


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3g}"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
