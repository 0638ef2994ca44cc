"""The line on top: whether the model is ready for the board, and what stops it or is to be looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

STATES = ("stopped", "look", "ready")
# Top-1 that int8 may lose before the verdict says so: a point, which is a choice of ours and no rule of the vendor's.
LOSS = 0.01
NAMED = 3
# So the stage's warning about it begins.
NOT_QUANTIZED = "not quantized"


def verdict(told: Mapping[str, Any]) -> dict[str, Any]:
    """The state (of STATES) and its reasons; `told` is what the report tells, but for this."""
    stops, looks = list(_stops(told)), list(_looks(told))
    state = "stopped" if stops else "look" if looks else "ready"
    return {"state": state, "reasons": [*stops, *looks], "notes": list(_notes(told))}


def _facts(told: Mapping[str, Any], stage: str) -> Mapping[str, Any]:
    return next((item["facts"] for item in told["stages"] if item["stage"] == stage), {})


def _stops(told: Mapping[str, Any]) -> Iterator[str]:
    if not _facts(told, "export").get("bundles"):
        yield "no bundle was written for the board"
    elif not _facts(told, "quantize").get("fix_neurons"):
        words = [item["text"] for item in told["warnings"] if item["text"].startswith(NOT_QUANTIZED)]
        yield words[0] if words else NOT_QUANTIZED
    for item in told["findings"]:
        if item["level"] == "error":
            yield f"{item['name']} at {_names(item['nodes'])}: {item['what']}"
    for item in told["placement"]:
        if not item["nodes"]["dpu"]:
            yield f"no node runs on the DPU of {item['toolchain']}"


def _looks(told: Mapping[str, Any]) -> Iterator[str]:
    for item in told["placement"]:
        parts = [part["device"] for part in item["subgraphs"]]
        if parts.count("dpu") > 1:
            yield f"the DPU's part falls into {parts.count('dpu')} subgraphs with {item['toolchain']}"
    marked = [item for item in told["findings"] if item["level"] == "warning"]
    if marked:
        yield f"the quantizer changes the graph unsaid: {_names([item['name'] for item in marked])}"
    if told["warnings"]:
        stages = dict.fromkeys(item["stage"] for item in told["warnings"])
        yield f"warnings of {', '.join(stages)}"
    yield from _losses(told["accuracy"])


def _losses(accuracy: Mapping[str, Any]) -> Iterator[str]:
    """What int8 loses: best is what goes to the board where it is there."""
    before = _top1(accuracy, "optimized")
    name = "best" if "best" in accuracy else "vendor"
    after = _top1(accuracy, name)
    if before is not None and after is not None and before - after > LOSS:
        yield f"{name} int8 loses {100 * (before - after):.2f} points of top-1"


def _notes(told: Mapping[str, Any]) -> Iterator[str]:
    """What the host has to do: the same nodes for several toolchains in one line."""
    found: dict[tuple[str, ...], list[str]] = {}
    for item in told["placement"]:
        names = tuple(name for part in item["subgraphs"] if part["device"] == "cpu" for name in part["nodes"])
        found.setdefault(names, []).append(item["toolchain"])
    for names, toolchains in found.items():
        where = "" if len(found) == 1 else f" ({', '.join(toolchains)})"
        if names:
            yield f"the host's CPU computes {_names(names)}{where}"
        else:
            yield f"every node runs on the DPU{where}"


def _top1(accuracy: Mapping[str, Any], name: str) -> float | None:
    return (accuracy.get(name) or {}).get("top1")


def _names(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
