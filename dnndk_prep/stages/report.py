"""Stage `report`: the facts of all stages in one Markdown file, and the same for programs."""

from __future__ import annotations

import json
from typing import Any

from dnndk_prep import report
from dnndk_prep.dpu import targets
from dnndk_prep.report import ReportFacts
from dnndk_prep.stages.context import StageContext
from dnndk_prep.workspace import STAGE_JSON


def run(ctx: StageContext) -> dict[str, Any]:
    """Write report.md and report.json from the stage.json of each needed stage."""
    board = targets.board(ctx.cfg.target.board)
    facts = ReportFacts(
        stages=tuple(json.loads((folder / STAGE_JSON).read_text(encoding="utf-8")) for folder in ctx.inputs.values()),
        board=board,
        toolchains=board.chosen(ctx.cfg.target.toolchain),
    )
    (ctx.out / "report.md").write_text(report.render(facts), encoding="utf-8")
    (ctx.out / "report.json").write_text(json.dumps(report.as_json(facts), indent=2) + "\n", encoding="utf-8")
    return {}
