"""The table of a sweep: what came out of each cell, as CSV and as a page that links to the cells' reports."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from dnndk_prep import templates
from dnndk_prep.sweep.cells import Cell
from dnndk_prep.sweep.work import Outcome

HTML, CSV = "sweep.html", "sweep.csv"
REPORT = "report/report.html"


@dataclass(frozen=True)
class Row:
    """One cell. None, an empty place in the CSV: not known.

    Accuracies are shares from 0 to 1 of `measure` (top1, mean_iou); nodes and subgraphs are those of `toolchain`, the
    newest that the cell has a bundle for; seconds: of all its stages, copied ones too; seconds_now: in this sweep.
    """

    model: str
    target: str
    quantize: str
    status: str
    verdict: str | None = None
    measure: str | None = None
    accuracy_float: float | None = None
    accuracy_int8: float | None = None
    images: int | None = None
    toolchain: str | None = None
    dpu_nodes: int | None = None
    cpu_nodes: int | None = None
    dpu_subgraphs: int | None = None
    seconds: float | None = None
    seconds_now: float | None = None
    stage: str | None = None
    code: str | None = None
    error: str | None = None
    report: str | None = None


def row_of(cell: Cell, outcome: Outcome | None, folder: Path) -> Row:
    """The row of `cell`; outcome: None for a cell that has not run. Only of one that is done the report counts."""
    row = Row(cell.model, cell.target, cell.quantize, "not run")
    if outcome is None or outcome.status == "stopped":
        return row
    row = replace(row, status=outcome.status, seconds_now=round(outcome.seconds, 1))
    if outcome.status == "failed":
        return replace(row, stage=outcome.stage, code=outcome.code, error=outcome.problem)
    told = json.loads((cell.workspace / "report" / "report.json").read_text(encoding="utf-8"))
    return replace(
        row,
        verdict=told["verdict"]["state"],
        **_accuracy(told["accuracy"]),
        **_placement(told["placement"]),
        seconds=round(sum(stage["seconds"] for stage in told["stages"]), 1),
        report=(cell.workspace / REPORT).relative_to(folder).as_posix(),
    )


def write(rows: Sequence[Row], folder: Path) -> None:
    """sweep.csv and sweep.html in `folder`; whoever reads them sees the old ones or the new ones, whole."""
    for name, text in ((CSV, as_csv(rows)), (HTML, page(rows))):
        new = folder / f".{name}.new"
        new.unlink(missing_ok=True)  # Of a killed sweep, or a link that leads elsewhere.
        new.write_text(text, encoding="utf-8")
        new.replace(folder / name)


def as_csv(rows: Sequence[Row]) -> str:
    """One line a cell, under the names of Row's fields."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _for_csv(value) for name, value in asdict(row).items()} for row in rows)
    return text.getvalue()


def page(rows: Sequence[Row]) -> str:
    """The page, in the style of the report and with its script; it loads nothing."""
    script = templates.render("report/script.js.j2", {})
    counts = {status: sum(row.status == status for row in rows) for status in ("done", "failed", "not run")}
    return templates.render(
        "sweep/page.html.j2",
        {
            "rows": [{**asdict(row), "link": quote(row.report) if row.report else None} for row in rows],
            "counts": counts,
            "state": "ready" if counts["done"] == len(rows) else "stopped" if counts["failed"] else "look",
            "seconds": sum(row.seconds_now or 0.0 for row in rows),
            "script": Markup(script),
            "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            "style": Markup(templates.render("report/style.css.j2", {})),
        },
    )


def _accuracy(told: Mapping[str, Any]) -> dict[str, Any]:
    """Of the graph before quantization, and of the int8 graph that goes to the board: the best one if it was made."""
    before = next((told[name] for name in ("optimized", "frozen", "float") if name in told), None) or {}
    after = told.get("best") or told.get("vendor") or {}
    measure = next((name for name in ("top1", "mean_iou") if before.get(name) is not None), None)
    if measure is None:
        return {}
    return {
        "measure": measure,
        "accuracy_float": before[measure],
        "accuracy_int8": after.get(measure),
        "images": before["images"],
    }


def _placement(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not told:
        return {}
    newest = told[-1]
    return {
        "toolchain": newest["toolchain"],
        "dpu_nodes": newest["nodes"]["dpu"],
        "cpu_nodes": newest["nodes"]["cpu"],
        "dpu_subgraphs": sum(part["device"] == "dpu" for part in newest["subgraphs"]),
    }


def _for_csv(value: object) -> object:
    """A text that a spreadsheet would compute as a formula gets an apostrophe, which makes it text there."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
