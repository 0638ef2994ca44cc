"""Stage `dpu_check`: where each node would run on the board, and what the quantizer does unsaid."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from dnndk_prep.check import check
from dnndk_prep.check.codes import code_of_finding, code_of_rule
from dnndk_prep.check.network import Network, from_graph_def
from dnndk_prep.check.result import CheckResult, fix_text
from dnndk_prep.dpu.own_board import board_of
from dnndk_prep.dpu.resolve import dpu_of
from dnndk_prep.errors import TargetError
from dnndk_prep.export.bundle import bundle_graph
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.fix import CUT_RESCALING
from dnndk_prep.graph.topology import node_of
from dnndk_prep.stages.context import StageContext

CHECK_JSON, CHECK_TEXT = "check.json", "check.txt"


def run(ctx: StageContext) -> dict[str, Any]:
    """Write check.json and check.txt: the check for each toolchain that a bundle is made for.

    Raises TargetError where dpu_check.fail_on asks for it.
    """
    target, options = ctx.cfg.target, ctx.cfg.dpu_check
    if not target.bundles:
        ctx.say("dpu_check: nothing to check, since target.bundles is false")
        return {"checks": []}
    graph, board = GraphArtifact.load(ctx.inputs["optimize_for_inference"]), board_of(target.board, target.dcf)
    network, fixes = network_of(graph), ctx.cfg.optimize_for_inference.fixes
    results = {}
    for toolchain in board.chosen(target.toolchain):
        dpu = dpu_of(board, toolchain)
        # The quantizer reads the graph as the bundle holds it.
        family = options.family if options.family in toolchain.quantizers else "tf1"
        findings = check(network_of(bundle_graph(graph, toolchain)), dpu, family).findings
        left = tuple(item for item in findings if (item.fix, item.fix in fixes) != (CUT_RESCALING, True))
        results[toolchain.name] = replace(check(network, dpu, family), findings=left)
    facts = {name: {"target": result.target, **result.as_dict()} for name, result in results.items()}
    (ctx.out / CHECK_JSON).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    texts = [f"{name}: {result.as_text()}\n" for name, result in results.items()]
    (ctx.out / CHECK_TEXT).write_text("\n".join(texts), encoding="utf-8")
    for name, result in results.items():
        ctx.say(f"dpu_check: {name}: {result.verdict}")
        _fail(name, result, options.fail_on)
    return {"checks": [_summary(name, result) for name, result in results.items()]}


def network_of(graph: GraphArtifact) -> Network:
    """The graph as the check reads it."""
    inputs, outputs = ([node_of(name) for name in names] for names in (graph.input_names, graph.output_names))
    return from_graph_def(graph.graph_def, inputs, outputs, {spec.name: spec.shape for spec in graph.inputs})


def _fail(name: str, result: CheckResult, fail_on: str | None) -> None:
    reason = result.fails(fail_on) if fail_on is not None else None
    if reason is not None:
        raise TargetError(
            f"the graph does not run whole on {result.target}, {name}",
            expected=f"nothing that dpu_check.fail_on: {fail_on} names",
            found=reason,
            remedy="`dnndk-prep inspect MODEL --target BOARD` lists what to do; or leave dpu_check.fail_on out",
            code="K2D-0013",
        )


def _summary(name: str, result: CheckResult) -> dict[str, Any]:
    """What the report tells: the verdict, each broken rule with its remedy, each finding above info."""
    broken = {(node.rule, node.limit, node.remedy): node for node in reversed(result.nodes) if node.limit is not None}
    marked = {(item.finding, item.remedy): item for item in reversed(result.findings) if item.severity != "info"}
    return {
        "toolchain": name,
        "target": result.target,
        "verdict": result.verdict,
        "rules": [
            {
                "node": node.node,
                "rule": node.rule,
                "code": code_of_rule(node.rule),
                "limit": node.limit,
                "value": node.value,
                "remedy": node.remedy,
            }
            for node in reversed(broken.values())
        ],
        "findings": [
            {
                "node": item.node,
                "finding": item.finding,
                "code": code_of_finding(item.finding),
                "what": item.what,
                "remedy": f"{item.remedy}; or {fix_text(item)}" if item.fix else item.remedy,
            }
            for item in reversed(marked.values())
        ],
    }
