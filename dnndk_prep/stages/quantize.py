"""Stage `quantize`: the optimized graph in the DPU's int8, as the vendor's quantizer makes it, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dnndk_prep.data.calibration import LIST_FILE
from dnndk_prep.data.calibration_files import ARRAYS
from dnndk_prep.data.parts import misfit, with_inputs
from dnndk_prep.errors import ModelFileError, StageError
from dnndk_prep.evaluation import evaluate
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.fix import CUT_RESCALING
from dnndk_prep.graph.fixes.cut_rescaling import begins
from dnndk_prep.graph.freeze import VARIABLES
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.graph.weights import weights_apart
from dnndk_prep.quant.best.best import best
from dnndk_prep.quant.calibration import Batch
from dnndk_prep.quant.calibration_data import require_like, require_meaning
from dnndk_prep.quant.files import Written, write
from dnndk_prep.quant.layer_error import worst
from dnndk_prep.quant.progress import bar
from dnndk_prep.quant.settings import Settings
from dnndk_prep.quant.simulation import Simulation
from dnndk_prep.quant.vendor import Plan, Quantization, plan, quantize
from dnndk_prep.stages import _inputs
from dnndk_prep.stages._proof import fitting_test_part
from dnndk_prep.stages.context import StageContext

LOOPS = ("LoopCond",)
# The layers that the report names.
WORST = 5
# Training examples that calibration data of the user's own are compared with.
COMPARED = 100
# Accuracy is measured on as many test images as have so many input values together: 890 of 224 x 224.
MAX_VALUES = 1 << 27


@weights_apart()
def run(ctx: StageContext) -> dict[str, Any]:
    """Write positions.json, both quantized graphs, graph.json, layer_error.csv and dump/.

    A graph that the vendor's quantizer does not take is left, with the reason. Raises StageError for calibration data
    from which positions would mean nothing.
    """
    if not ctx.cfg.target.bundles:
        ctx.say("quantize: nothing to quantize, since target.bundles is false")
        return {"fix_neurons": 0}
    graph = GraphArtifact.load(ctx.inputs["optimize_for_inference"])
    arrays = _arrays(ctx.inputs["calib_input"], graph)
    _check(ctx, graph, arrays)
    count, batches = _batches(arrays, ctx.cfg.calibration.batch_size)
    first, notes = require_meaning(batches())
    fed = {spec.name: [None, *arrays[spec.name].shape[1:]] for spec in graph.inputs}
    try:
        made = _plan(ctx, graph, fed)
    except StageError as error:
        ctx.say(f"quantize: left out: {error.problem}")
        return {"fix_neurons": 0, "warnings": [f"not quantized: {error.problem}; found: {error.found}"]}
    if ctx.cfg.quantize.mode == "best":
        found = best(graph.graph_def, graph.output_names, made, list(batches()))
        quantized, runs = found.quantization, {"vendor": found.vendor, "best": found.quantization}
    else:
        quantized = quantize(made, bar(batches(), "calibration", count))
        runs = {"vendor": quantized}
    written = write(ctx.out, quantized, batches(), first)
    accuracy = _accuracy(ctx, graph, runs)
    return _facts(ctx, quantized, written, accuracy, notes)


def _plan(ctx: StageContext, graph: GraphArtifact, fed: Mapping[str, list[int | None]]) -> Plan:
    for what, kinds in (("variables", VARIABLES), ("recurrent layers", LOOPS)):
        found = [node.name for node in graph.graph_def.node if node.op in kinds]
        if found:
            raise StageError(f"the vendor's quantizers take no graph with {what}", found=", ".join(found))
    flags = ctx.cfg.quantize.model_dump(exclude={"mode"})
    begin = _begin(ctx, graph)
    starts, is_faithful = [begin[name] for name in fed], ctx.cfg.quantize.mode == "vendor"
    return plan(graph.graph_def, starts, graph.output_names, fed, Settings(**flags), is_faithful)


def _begin(ctx: StageContext, graph: GraphArtifact) -> dict[str, str]:
    """Where quantization begins, by input: as in the bundles, behind the rescaling if that is asked for."""
    found = {name: name for name in graph.input_names}
    if CUT_RESCALING in ctx.cfg.optimize_for_inference.fixes:
        found |= begins(graph.graph_def, graph.input_names, frozenset([*graph.input_names, *graph.output_names]))
    return found


def _arrays(folder: Path, graph: GraphArtifact) -> dict[str, np.ndarray]:
    """The calibration examples by input, (N, ...)."""
    with np.load(folder / ARRAYS, allow_pickle=False) as stored:
        if set(stored.files) != set(graph.input_names):
            raise StageError(
                f"{ARRAYS} does not hold the inputs of the graph",
                expected=", ".join(graph.input_names),
                found=", ".join(stored.files),
                remedy="run the pipeline again with --from calib_input --force",
            )
        arrays = {spec.name: stored[spec.name].astype(spec.dtype, copy=False) for spec in graph.inputs}
    listing = folder / LIST_FILE
    if listing.exists():
        lines = len(listing.read_text(encoding="utf-8").splitlines())
        _require_count(f"{LIST_FILE} is short", len(next(iter(arrays.values()))), lines)
    return arrays


def _check(ctx: StageContext, graph: GraphArtifact, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse too few examples, and examples of the user's own that are of another kind than the training data."""
    options = ctx.cfg.calibration
    for array in arrays.values():
        _require_count(
            "there are fewer calibration examples than calibration.count asks for", options.count, len(array)
        )
    if options.path is None:
        return
    try:
        part = _inputs.dataset(ctx.cfg).train
    except ModelFileError:
        # A model of the user's own needs no dataset.
        return
    preprocess = _inputs.preprocess(ctx.cfg)
    if len(part) and misfit(part, preprocess, {spec.name: spec.shape for spec in graph.inputs}) is None:
        fitting = with_inputs(part, graph.input_names)
        chosen = np.random.default_rng(ctx.cfg.seed).permutation(len(part))[:COMPARED]
        (examples,) = fitting.batches(preprocess, len(chosen), chosen)
        require_like(arrays, dict(zip(graph.input_names, examples, strict=True)))


def _require_count(problem: str, expected: int, found: int) -> None:
    if found < expected:
        raise StageError(
            problem,
            expected=f"{expected} examples",
            found=str(found),
            remedy=f"give more, or set calibration.count to {found}",
        )


def _batches(arrays: Mapping[str, np.ndarray], size: int) -> tuple[int, Callable[[], Iterator[Batch]]]:
    """What input_fn.py gives for each number: full batches alone, and how many there are."""
    count = min(len(array) for array in arrays.values()) // size

    def batches() -> Iterator[Batch]:
        for i in range(count):
            yield {name: array[i * size : (i + 1) * size] for name, array in arrays.items()}

    return count, batches


def _accuracy(ctx: StageContext, graph: GraphArtifact, made: Mapping[str, Quantization]) -> dict[str, Any]:
    """What the float graph and the quantized ones reach on the same test images."""
    test = fitting_test_part(ctx.cfg, graph.inputs)
    if test.part is None:
        return {"reason": f"not measured: {test.reason}"}
    preprocess = _inputs.preprocess(ctx.cfg)
    values = sum(int(np.prod(shape)) for shape in test.part.shapes(preprocess).values())
    images = max(1, MAX_VALUES // max(1, values))
    found = {}
    with GraphRunner(graph.graph_def, graph.output_names) as runner:
        found["float"] = evaluate(runner.run, graph.inputs, test.part, preprocess, images)
    for name, one in made.items():
        with Simulation(one.nodes, one.plan.prepared.outputs) as simulation:
            found[name] = evaluate(simulation.outputs, graph.inputs, test.part, preprocess, images)
    return found


def _facts(
    ctx: StageContext, made: Quantization, written: Written, accuracy: dict[str, Any], notes: list[str]
) -> dict[str, Any]:
    moved = sum(made.positions[name] != seen.position for name, seen in made.seen.items())
    for name in ("float", "vendor", "best"):
        if (found := accuracy.get(name)) and found["top1"] is not None:
            ctx.say(f"quantize: {name}: top-1 {100 * found['top1']:.2f} % of {found['images']} test images")
    return {
        "mode": ctx.cfg.quantize.mode,
        "flags": made.plan.settings.changed(),
        "fix_neurons": len(made.seen),
        "moved": moved,
        "accuracy": accuracy,
        "best": made.search,
        "worst": [
            {
                "node": one.fix.inputs[0],
                "op": one.op,
                "position": one.fix.attrs["quantize_pos"].i,
                "sqnr_db": _finite(one.own.sqnr),
                "cumulative_sqnr_db": _finite(one.total.sqnr),
                "saturation": one.saturation,
            }
            for one in worst(written.errors, WORST)
        ],
        "warnings": [*notes, *made.notes, *written.warnings],
    }


def _finite(number: float) -> float | None:
    """JSON has no infinity."""
    return round(number, 2) if np.isfinite(number) else None
