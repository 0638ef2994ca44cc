"""Stage `calib_input`: the examples that the quantizer calibrates on, and the module that feeds them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dnndk_prep.data import calibration
from dnndk_prep.data.calibration_files import write_calibration
from dnndk_prep.errors import StageError
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.stages import _inputs
from dnndk_prep.stages.context import StageContext


def run(ctx: StageContext) -> dict[str, Any]:
    """Write images/, calib_list.txt, calib.npz and input_fn.py (for inputs that are no images, the last two)."""
    options, seed = ctx.cfg.calibration, ctx.cfg.seed
    if not ctx.cfg.target.bundles:
        ctx.say("calib_input: nothing to write, since target.bundles is false")
        return {"count": 0}
    graph = GraphArtifact.load(ctx.inputs["optimize_for_inference"])
    # Before the data are looked at, which need not fit a model that no DPU takes.
    _refuse_loops(graph)
    if options.path is not None:
        chosen = calibration.from_path(options.path, options.count, seed)
    else:
        chosen = calibration.from_dataset(_inputs.dataset(ctx.cfg), options.count, seed)
    placeholders = {spec.name: spec.shape for spec in graph.inputs}
    facts = write_calibration(ctx.out, chosen, _inputs.preprocess(ctx.cfg), placeholders, options.batch_size)
    return {**asdict(facts), "warnings": list(facts.warnings)}


def _refuse_loops(graph: GraphArtifact) -> None:
    loops = [node.name for node in graph.graph_def.node if node.op == "LoopCond"]
    if loops:
        raise StageError(
            f"no DPU of these toolchains runs the recurrent layers of this model: {', '.join(map(_layer_of, loops))}",
            expected="convolutions, pooling and dense layers: the DPU has no loops, and the quantizers take none",
            found=", ".join(loops),
            remedy="the frozen graph runs by name in TensorFlow; leave the bundles out with target.bundles: false",
            code="K2D-0021",
        )


def _layer_of(node: str) -> str:
    return node.rpartition("/while/")[0] or node
