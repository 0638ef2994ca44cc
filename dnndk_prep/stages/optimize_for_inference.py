"""optimize_for_inference: the frozen graph without what only training needed, its batch norms folded."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.rewrite import optimize
from dnndk_prep.graph.saver import saver_prefix
from dnndk_prep.keras_io.checkpoint import saved_variables, with_saver
from dnndk_prep.stages._proof import Reference, prove_artifact
from dnndk_prep.stages.context import StageContext

OPTIMIZED_GRAPH = "optimized_graph.pb"


def run(ctx: StageContext) -> dict[str, Any]:
    """Write optimized_graph.pb and graph.json."""
    reference = ctx.inputs["keras_2_tf"]
    frozen = GraphArtifact.load(ctx.inputs["freeze_graph"])
    # With variables that were kept, the graph cannot run alone; the proof below restores them first.
    kept = saved_variables(frozen.graph_def)
    optimized, reports = optimize(frozen, None if kept else Reference.load(reference).probe)
    if kept and saver_prefix(optimized.graph_def.node) is None:
        optimized = replace(optimized, graph_def=with_saver(optimized.graph_def))
    optimized.save(ctx.out, OPTIMIZED_GRAPH)
    facts = prove_artifact(ctx.cfg, optimized, reference)
    nodes = {"before": len(frozen.graph_def.node), "after": len(optimized.graph_def.node)}
    return {**facts, "nodes": nodes, "rewrites": [asdict(report) for report in reports]}
