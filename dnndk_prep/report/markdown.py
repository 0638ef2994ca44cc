"""The report in Markdown."""

from __future__ import annotations

from typing import Any

from dnndk_prep import templates
from dnndk_prep.report import rows
from dnndk_prep.report.facts import ReportFacts
from dnndk_prep.report.told import as_json, settings_yaml

TITLES = {
    "ready": "Ready for {}",
    "look": "Ready for {}, with something to look at",
    "stopped": "Not ready for {}",
}


def render(facts: ReportFacts) -> str:
    """The report in Markdown. What users named (files, nodes, reasons) cannot break its tables."""
    told = as_json(facts)
    values = tables(facts)
    return templates.render(
        "report.md.j2",
        {
            **values,
            "board": facts.board,
            "toolchains": facts.toolchains,
            "title": title(facts, told),
            "verdict": told["verdict"],
            "calibration": told["calibration"],
            "settings": settings_yaml(told).splitlines(),
        },
    )


def title(facts: ReportFacts, told: dict[str, Any]) -> str:
    """The verdict in some words."""
    return TITLES[told["verdict"]["state"]].format(facts.board.title)


def tables(facts: ReportFacts) -> dict[str, Any]:
    """The rows of the tables that Markdown and the page share."""
    stages = facts.stages
    return {
        "stages": [rows.stage_row(stage) for stage in stages],
        "accuracy": [row for stage in stages for row in rows.accuracy_rows(stage)],
        "differences": [row for stage in stages for row in rows.difference_rows(stage)],
        "nodes": [row for stage in stages for row in rows.node_rows(stage)],
        "rewrites": [row for stage in stages for row in rows.rewrite_rows(stage)],
        "findings": [(stage["stage"], text) for stage in stages for text in stage["warnings"]],
        "checks": [item for stage in stages for item in stage["facts"].get("checks", ())],
        "quantized": [item for stage in stages if (item := rows.quantized(stage))],
        "bundles": [item for stage in stages for item in stage["facts"].get("bundles", ())],
        "saved_models": [item for stage in stages if (item := stage["facts"].get("saved_model"))],
        "artifacts": [(stage["stage"], *row) for stage in stages for row in rows.artifact_rows(stage)],
        "versions": sorted({item for stage in stages for item in stage["versions"].items()}),
    }
