"""Rows of the report's tables: what each stage did, and how far its graph is from the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

# A folder with more files than this is one line of the artifacts' table.
MANY_FILES = 10
NONE = "-"
# The graphs of the quantize stage, and how accuracy is told of each.
QUANTIZED = ("vendor", "best")
SHARES = ("top1", "top5", "mean_iou")


def stage_row(stage: Mapping[str, Any]) -> dict[str, Any]:
    count = len(stage["warnings"])
    artifacts = stage["artifacts"].values()
    total = sum(item["bytes"] for item in artifacts)
    return {
        "name": stage["stage"],
        "status": "done" if not count else f"done, {count} warning{'s' if count > 1 else ''}",
        "seconds": f"{stage['seconds']:.1f}",
        "files": len(artifacts),
        "size": size(total),
        "bytes": total,
    }


def _proof(stage: Mapping[str, Any]) -> Mapping[str, Any]:
    return stage["facts"].get("proof") or {}


def accuracy_rows(stage: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
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


def quantized(stage: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the section about quantization tells; None for another stage, and where nothing was quantized."""
    facts = stage["facts"]
    if not facts.get("fix_neurons"):
        return None
    measured = {name: found for name, found in facts["accuracy"].items() if isinstance(found, Mapping)}
    rows = [(name, *(share(found[key]) for key in SHARES), found["images"]) for name, found in measured.items()]
    flags = [f"--{name} {value}" for name, value in facts["flags"].items()]
    return {"best": None, **facts, "rows": rows, "flags": ", ".join(flags), "reason": facts["accuracy"].get("reason")}


def share(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f} %"


def _accuracy_row(after: str, accuracy: Mapping[str, Any]) -> tuple[str, str, str]:
    if accuracy["top1"] is None:
        return after, f"not measured: {accuracy['reason'] or 'no reason given'}", NONE
    return after, f"{100 * accuracy['top1']:.2f} %", str(accuracy["images"])


def difference_rows(stage: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """The probe's row, and the test part's where it was run; stage, what was fed, difference, tolerance."""
    proof = _proof(stage)
    if probe := proof.get("probe"):
        tolerance = number(probe.get("tolerance"))
        yield stage["stage"], f"probe: {probe.get('source') or 'batch'}", number(probe["max_abs_diff"]), tolerance
    if test := proof.get("test"):
        yield stage["stage"], "test images", number(test["max_abs_diff"]), number(test.get("tolerance"))
    for item in stage["facts"].get("fixes", ()):
        what = f"{item['fed']}, fix {item['fix']} against the graph without it ({len(item['nodes'])} nodes)"
        yield stage["stage"], what, number(item["max_abs_diff"]), number(item["tolerance"])
    for item in stage["facts"].get("bundles", ()):
        what = f"{item.get('fed', 'first calibration batch')}, for {item['toolchain']}"
        yield stage["stage"], what, number(item["max_abs_diff"]), number(item["tolerance"])
    saved = stage["facts"].get("saved_model") or {}
    if through := saved.get("proof"):
        what = f"probe, through {saved['folder']}"
        yield stage["stage"], what, number(through["max_abs_diff"]), number(through["tolerance"])


def node_rows(stage: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    if nodes := stage["facts"].get("nodes"):
        yield stage["stage"], nodes["before"], nodes["after"]


def rewrite_rows(stage: Mapping[str, Any]) -> Iterator[tuple[str, int, int, str]]:
    for item in stage["facts"].get("rewrites") or ():
        yield item["name"], item["before"], item["after"], number(item["max_abs_diff"])


def artifact_rows(stage: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, size and the hash's beginning; a folder of many files is one row without a hash."""
    folders: dict[str, list[str]] = {}
    for name in stage["artifacts"]:
        folders.setdefault(str(PurePosixPath(name).parent), []).append(name)
    for folder, names in folders.items():
        if folder != "." and len(names) > MANY_FILES:
            total = sum(stage["artifacts"][name]["bytes"] for name in names)
            yield f"{folder}/ ({len(names)} files)", size(total), NONE
        else:
            yield from _file_rows(stage["artifacts"], names)


def _file_rows(artifacts: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for name in names:
        yield name, size(artifacts[name]["bytes"]), artifacts[name]["sha256"][:12]


def number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3g}"


def size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
