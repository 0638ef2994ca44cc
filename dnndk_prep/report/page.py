"""The report as a page: one file that needs no network, whose names and texts from outside stay text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from dnndk_prep import templates
from dnndk_prep.report import rows
from dnndk_prep.report.drawing import HEIGHT, WIDTH, draw
from dnndk_prep.report.facts import ReportFacts
from dnndk_prep.report.markdown import tables, title
from dnndk_prep.report.nodes import owner
from dnndk_prep.report.plots import layer_errors
from dnndk_prep.report.sheet import thumbnails
from dnndk_prep.report.told import as_json, settings_yaml

TEMPLATE = "report/page.html.j2"
LABELS = {
    "float": "float",
    "frozen": "frozen",
    "optimized": "optimized",
    "vendor": "int8, the vendor's choice",
    "best": "int8, the best found",
}


def page(facts: ReportFacts) -> str:
    """The HTML; the same bytes for the same facts, apart from the stages' seconds."""
    told = as_json(facts)
    script = templates.render("report/script.js.j2", {})
    plot = layer_errors(told["tensors"])
    return templates.render(
        TEMPLATE,
        {
            **tables(facts),
            "told": told,
            "title": title(facts, told),
            "board": facts.board,
            "toolchains": facts.toolchains,
            "bars": list(_bars(told["accuracy"])),
            "strips": [_strip(item) for item in told["placement"]],
            "chosen": told["placement"][-1]["toolchain"] if told["placement"] else None,
            "drawing": draw(told["nodes"]) if told["nodes"] else None,
            "box": (WIDTH, HEIGHT),
            # Our own SVG and script; texts in the former are escaped where it is written.
            "plot": Markup(plot) if plot else None,
            "script": Markup(script),
            "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            "style": Markup(templates.render("report/style.css.j2", {})),
            "interactive": _interactive(told),
            "tensor_rows": list(_tensor_rows(told)),
            "pictures": list(thumbnails(facts.pictures)),
            "picture_count": len(facts.pictures),
            "seconds": f"{sum(stage['seconds'] for stage in facts.stages):.1f}",
            "settings": settings_yaml(told),
            "file_rows": list(_file_rows(facts.stages)),
        },
    )


def _interactive(told: Mapping[str, Any]) -> dict[str, Any]:
    """What the page's script reads: nodes, tensors, and the node of each tensor."""
    places = {node["name"]: i for i, node in enumerate(told["nodes"])}
    owners = [owner(item, places) for item in told["tensors"]]
    # What is not so takes no room.
    nodes = [
        node | {"placement": {name: _given(place) for name, place in node["placement"].items()}}
        for node in told["nodes"]
    ]
    return {
        "nodes": nodes,
        "tensors": told["tensors"],
        "owners": [None if name is None else places[name] for name in owners],
    }


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _bars(accuracy: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A bar for each graph: of top-1, or of the mean IoU where that was measured."""
    before: float | None = None
    for name, label in LABELS.items():
        found = accuracy.get(name)
        if found is None:
            continue
        measure = "top1" if found["top1"] is not None else "mean_iou"
        value = found.get(measure)
        change = None if value is None or before is None else 100 * (value - before)
        yield {
            "label": label,
            "measure": {"top1": "top-1", "mean_iou": "mean IoU"}[measure],
            "percent": None if value is None else 100 * value,
            "text": rows.share(value),
            "change": f"{change:+.2f}" if change else "",
            "images": found["images"],
            "reason": found.get("reason") or "not measured",
        }
        if name in ("float", "frozen", "optimized") and value is not None:
            before = value


def _strip(placement: Mapping[str, Any]) -> dict[str, Any]:
    """The subgraphs as pieces of a strip, as wide as they have nodes, but wide enough to be seen."""
    parts = [
        {"device": part["device"], "count": len(part["nodes"]), "first": part["nodes"][0], "last": part["nodes"][-1]}
        for part in placement["subgraphs"]
    ]
    return {**placement, "parts": parts}


def _tensor_rows(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    places = {node["name"]: i for i, node in enumerate(told["nodes"])}
    for i, item in enumerate(told["tensors"]):
        low, high = item["range"] or (None, None)
        yield {
            **item,
            "index": i,
            "owner": owner(item, places),
            "what": item["op"] if item["kind"] == "aquant" else "weights",
            "range": rows.NONE if low is None else f"{low:.3g} … {high:.3g}",
            "low": low,
        }


def _file_rows(stages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, int, str]]:
    """Stage, name, size in words and bytes, and whole hash of each artifact; folders of many files as one row."""
    for stage in stages:
        for name, text, digest in rows.artifact_rows(stage):
            if facts := stage["artifacts"].get(name):
                yield stage["stage"], name, text, facts["bytes"], facts["sha256"]
                continue
            folder = name.partition("/ (")[0] + "/"
            inside = [item["bytes"] for path, item in stage["artifacts"].items() if path.startswith(folder)]
            yield stage["stage"], name, text, sum(inside), digest
