"""optimize_for_inference: the frozen graph without what only training needed, its batch norms folded."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.graph.rewrite import optimize
from dnndk_prep.graph.weights import weights_apart
from dnndk_prep.keras_io.checkpoint import CHECKPOINT, RestoredRunner
from dnndk_prep.stages import _fixes
from dnndk_prep.stages._proof import REFERENCE, Reference, prove_artifact
from dnndk_prep.stages.context import StageContext

OPTIMIZED_GRAPH = "optimized_graph.pb"


@weights_apart()
def run(ctx: StageContext) -> dict[str, Any]:
    """Write optimized_graph.pb and graph.json."""
    # The stage in which the model came in has its own outputs.
    reference = next(folder for folder in ctx.inputs.values() if (folder / REFERENCE).exists())
    frozen = GraphArtifact.load(ctx.inputs["freeze_graph"])
    # Variables that were kept must be loaded before a graph can run.
    runner = partial(RestoredRunner, checkpoint=reference / CHECKPOINT)
    # One example tells which rewrite broke the graph; the proof at the end runs all.
    probe = {spec.name: _first(spec, Reference.load(reference).probe[spec.name]) for spec in frozen.inputs}
    unshare = ctx.cfg.optimize_for_inference.unshare
    optimized, reports = optimize(frozen, probe, runner, own_constants=unshare)
    facts = prove_artifact(ctx.cfg, optimized, reference)
    # Behind the proof, which no inexact one would pass.
    optimized, fixes, warnings = _fixes.apply(ctx.cfg, optimized, reference)
    optimized.save(ctx.out, OPTIMIZED_GRAPH)
    nodes = {"before": len(frozen.graph_def.node), "after": len(optimized.graph_def.node)}
    facts["warnings"] += dict.fromkeys(note for report in reports for note in report.notes)
    facts["warnings"] += warnings
    return {**facts, "nodes": nodes, "rewrites": [asdict(report) for report in reports], "fixes": fixes}


def _first(spec: TensorSpec, values: np.ndarray) -> np.ndarray:
    """The first example of a batch, where the graph takes batches of any size."""
    return values[:1] if spec.shape and spec.shape[0] is None else values
