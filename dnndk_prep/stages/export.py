"""Stage `export`: one bundle for each vendor family of the board, its graph proven on its own calibration data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnndk_prep.dpu.own_board import board_of
from dnndk_prep.dpu.targets import Toolchain
from dnndk_prep.errors import StageError
from dnndk_prep.export import bundle, dnndk, vitis_ai
from dnndk_prep.export.vitis_ai_tf2.releases import FAMILY, RELEASES
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.compare import require_same
from dnndk_prep.graph.fix import CUT_RESCALING
from dnndk_prep.graph.fixes.cut_rescaling import begins
from dnndk_prep.graph.freeze import VARIABLES
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.stages import _other_exports, _tf2_bundle
from dnndk_prep.stages._model import SOURCE_JSON
from dnndk_prep.stages.context import StageContext

WRITERS = {"dnndk": dnndk.write_bundle, "vitis_ai": vitis_ai.write_bundle}
TRAINED_HERE = "sample_cnn"


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `<family>/` for each vendor family of the board, at the configured or the newest release.

    vitis_ai_tf2/ comes with vitis_ai/ where the release has a quantizer for TensorFlow 2 and the model a form for it.
    Beside them saved_model/ and tensorboard/, where the configuration asks for these.
    """
    graph = GraphArtifact.load(ctx.inputs["optimize_for_inference"])
    _refuse_variables(graph)
    others = _other_exports.write(ctx, graph, _net_name(ctx))
    return {**others, **(_bundles(ctx, graph) if ctx.cfg.target.bundles else {})}


def _bundles(ctx: StageContext, graph: GraphArtifact) -> dict[str, Any]:
    target = ctx.cfg.target
    board = board_of(target.board, target.dcf)
    calib_dir = ctx.inputs["calib_input"]
    feeds = _first_batch(ctx, graph)
    batch_size = len(next(iter(feeds.values())))
    begin = _begin(ctx, graph)
    bundles: list[dict[str, Any]] = []
    warnings: list[str] = []
    for toolchain in board.chosen(target.toolchain):
        lowered, expected, difference = _lowered(graph, toolchain, feeds, begin)
        spec = bundle.BundleSpec(
            net_name=_net_name(ctx),
            graph=lowered,
            toolchain=toolchain,
            board=board,
            calib_dir=calib_dir,
            calib_iter=bundle.calibration_count(calib_dir) // batch_size,
            batch_size=batch_size,
            expected=expected,
            feed_shapes={name: value.shape for name, value in feeds.items()},
            begin=begin,
            dcf=target.dcf,
        )
        WRITERS[toolchain.family](ctx.out / toolchain.family, spec)
        ctx.say(f"export: {toolchain.family}/ for {board.title} with {toolchain.release}")
        bundles.append({"folder": toolchain.family, "reader": toolchain.reader, **_facts(spec), **difference})
        if target.vitis_ai_tf2 and (release := RELEASES.get(toolchain.name)):
            found, warning = _tf2_bundle.write(ctx, spec, feeds)
            warnings += [warning] if warning else []
            bundles += [{"folder": FAMILY, "reader": release.tensorflow, **_facts(spec), **found}] if found else []
    return {"board": board.name, "bundles": bundles, "warnings": warnings}


def _begin(ctx: StageContext, graph: GraphArtifact) -> dict[str, str]:
    """Where the quantizers begin instead of at an input, if asked."""
    if CUT_RESCALING not in ctx.cfg.optimize_for_inference.fixes:
        return {}
    return begins(graph.graph_def, graph.input_names, frozenset([*graph.input_names, *graph.output_names]))


def _facts(spec: bundle.BundleSpec) -> dict[str, Any]:
    return {
        "toolchain": spec.toolchain.name,
        "net_name": spec.net_name,
        "calib_iter": spec.calib_iter,
        "batch_size": spec.batch_size,
    }


def _net_name(ctx: StageContext) -> str:
    """The stem of the user's model file; a model that was trained here has none."""
    path = next((folder / SOURCE_JSON for folder in ctx.inputs.values() if (folder / SOURCE_JSON).exists()), None)
    if path is None:
        return TRAINED_HERE
    return bundle.net_name(Path(json.loads(path.read_text(encoding="utf-8"))["files"][0]["name"]).stem)


def _refuse_variables(graph: GraphArtifact) -> None:
    kept = [node.name for node in graph.graph_def.node if node.op in VARIABLES]
    if kept:
        raise StageError(
            "the vendor's quantizers take no graph with variables",
            expected="freeze_graph.keep_vars: []",
            found=", ".join(kept),
            remedy="empty freeze_graph.keep_vars, or stop before with --to optimize_for_inference",
        )


def _first_batch(ctx: StageContext, graph: GraphArtifact) -> Mapping[str, np.ndarray]:
    """What the quantizer will feed first; its keys must be the graph's inputs, all of them and no others."""
    feeds = bundle.calibration_batch(ctx.inputs["calib_input"], 0)
    if set(feeds) != set(graph.input_names):
        raise StageError(
            f"{bundle.MODULE} does not feed the inputs of the graph",
            expected=", ".join(graph.input_names),
            found=", ".join(feeds),
            remedy="run the pipeline again with --from calib_input --force",
            code="K2D-0011",
        )
    return feeds


def _lowered(
    graph: GraphArtifact, toolchain: Toolchain, feeds: Mapping[str, np.ndarray], begin: Mapping[str, str]
) -> tuple[GraphArtifact, list[np.ndarray], dict[str, float]]:
    """The graph as the toolchain's TensorFlow reads it, its outputs, and how far they are from those of `graph`."""
    lowered = bundle.bundle_graph(graph, toolchain, begin.values())
    with (
        GraphRunner(graph.graph_def, graph.output_names) as before,
        GraphRunner(lowered.graph_def, graph.output_names) as after,
    ):
        wanted, got = before.run(feeds), after.run(feeds)
    problem = f"the graph for {toolchain.name} differs from the optimized graph"
    return lowered, got, require_same(graph.output_names, got, wanted, problem)
