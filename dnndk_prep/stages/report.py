"""Stage `report`: the facts of all stages for people and for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dnndk_prep import report
from dnndk_prep.check.graph_file import read_graph_file
from dnndk_prep.check.network import Network, from_graph_def, node_of
from dnndk_prep.config import Config
from dnndk_prep.dpu.own_board import board_of
from dnndk_prep.report import Picture, ReportFacts
from dnndk_prep.stages.context import StageContext
from dnndk_prep.workspace import STAGE_JSON

GRAPH, GRAPH_JSON = "optimized_graph.pb", "graph.json"


def run(ctx: StageContext) -> dict[str, Any]:
    """Write report.html, report.md and report.json from what the needed stages recorded and wrote."""
    facts = _facts(ctx)
    (ctx.out / "report.md").write_text(report.render(facts), encoding="utf-8")
    told = report.as_json(facts)
    text = json.dumps(told, indent=2, allow_nan=False) + "\n"
    (ctx.out / "report.json").write_text(text, encoding="utf-8")
    (ctx.out / "report.html").write_text(report.page(facts), encoding="utf-8")
    if ctx.cfg.target.bundles:
        ctx.say(f"report: {report.title(facts, told)}; all of it is in report/report.html")
    return {}


def _facts(ctx: StageContext) -> ReportFacts:
    board = board_of(ctx.cfg.target.board, ctx.cfg.target.dcf)
    stages = {name: _json(folder / STAGE_JSON) for name, folder in ctx.inputs.items()}
    written = {(name, path): ctx.inputs[name] / path for name, stage in stages.items() for path in stage["artifacts"]}
    positions, errors = written.get(("quantize", "positions.json")), written.get(("quantize", "layer_error.csv"))
    checks = written.get(("dpu_check", "check.json"))
    return ReportFacts(
        stages=tuple(stages.values()),
        board=board,
        toolchains=board.chosen(ctx.cfg.target.toolchain),
        network=_network(written),
        checks=_json(checks) if checks else {},
        fix_neurons=_json(positions)["fix_neurons"] if positions else (),
        errors=_rows(errors) if errors else (),
        pictures=tuple(_pictures(written)),
        names=_names(ctx.cfg, stages.values()),
    )


def _network(written: Mapping[tuple[str, str], Path]) -> Network | None:
    """The optimized graph without its weights; None where the stage wrote none."""
    path, beside = (written.get(("optimize_for_inference", name)) for name in (GRAPH, GRAPH_JSON))
    if path is None or beside is None:
        return None
    told = _json(beside)
    inputs, outputs = ([node_of(item["name"]) for item in told[key]] for key in ("inputs", "outputs"))
    given = {item["name"]: tuple(item["shape"]) for item in told["inputs"]}
    return from_graph_def(read_graph_file(path), inputs, outputs, given)


def _pictures(written: Mapping[tuple[str, str], Path]) -> Iterator[Picture]:
    """The calibration images in the order of their list."""
    listing = written.get(("calib_input", "calib_list.txt"))
    for line in listing.read_text(encoding="utf-8").splitlines() if listing else ():
        name, _, label = line.partition(" ")
        yield Picture(written["calib_input", f"images/{name}"], label or None)


def _names(cfg: Config, stages: Any) -> dict[str, str]:
    """What the files are called that results depend on, by their key; where they lie is this machine's alone."""
    found = {}
    for key in sorted({key for stage in stages for key in stage.get("fingerprint", {}).get("files", {})}):
        value: Any = cfg
        for part in key.split("."):
            value = getattr(value, part, None)
        if isinstance(value, Path):
            found[key] = value.name
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
