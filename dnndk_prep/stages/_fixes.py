"""The fixes that `optimize_for_inference.fixes` asks for, each with the change of the outputs that it makes.

What is compared is the graph before and behind each fix, fed as the proof of the stage is: with the probe batch, and
where numbers change with the test images, too, if the dataset fits the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dnndk_prep.config import Config
from dnndk_prep.errors import StageError
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.compare import max_abs_diff
from dnndk_prep.graph.fix import CUT_RESCALING, FIXES, fixed
from dnndk_prep.graph.fixes.cut_rescaling import begins, fed_behind
from dnndk_prep.graph.rewrites.prune import prune
from dnndk_prep.keras_io.checkpoint import CHECKPOINT, RestoredRunner
from dnndk_prep.stages._proof import FittingPart, Reference, accuracy_of, fitting_test_part, make_reference

# Of an exact fix, relative to the largest value, but not below 1.
TOLERANCE = 1e-5


def apply(cfg: Config, graph: GraphArtifact, folder: Path) -> tuple[GraphArtifact, list[dict[str, Any]], list[str]]:
    """The graph with the fixes asked for, in their own order; facts of each, and warnings.

    folder: that of the reference. Raises StageError for an exact fix that changes an output by more than
    1e-5 x max(1, max|y|).
    """
    asked = cfg.optimize_for_inference.fixes
    if not asked:
        return graph, [], []
    keep = frozenset([*graph.input_names, *graph.output_names])
    bench = _Bench(cfg, folder)
    facts: list[dict[str, Any]] = []
    warnings: list[str] = []
    for name in [name for name in FIXES if name in asked]:
        done = fixed(graph.graph_def, name, keep)
        if not done.nodes:
            warnings.append(f"the fix {name} found nothing to mend")
            continue
        changed, exact = replace(graph, graph_def=done.graph_def), FIXES[name].exact
        before, after = (bench.outputs(one, with_test=not exact) for one in (graph, changed))
        fact = {"fix": name, "nodes": list(done.nodes), **_change(name, exact, after, before)}
        facts.append({**fact, "fed": bench.fed(after), "accuracy": bench.accuracy(graph, after)})
        graph = changed
    if CUT_RESCALING in asked:
        begin = begins(graph.graph_def, graph.input_names, keep)
        if begin:
            change = _change(CUT_RESCALING, True, _behind(bench, graph, begin), bench.outputs(graph))
            facts.append(
                {"fix": CUT_RESCALING, "nodes": list(begin.values()), **change, "fed": "probe", "accuracy": None}
            )
        else:
            warnings.append(f"the fix {CUT_RESCALING} found no input that is rescaled, and read by nothing else")
    return graph, facts, warnings


class _Bench:
    """Computes graphs with the proof's inputs."""

    def __init__(self, cfg: Config, folder: Path) -> None:
        self.cfg, self.folder, self.probe = cfg, folder, Reference.load(folder).probe

    def outputs(self, graph: GraphArtifact, with_test: bool = False) -> Reference:
        with RestoredRunner(graph.graph_def, graph.output_names, self.folder / CHECKPOINT) as runner:
            test = fitting_test_part(self.cfg, graph.inputs) if with_test else FittingPart(None)
            return make_reference(self.cfg, runner.run, self.probe, graph.inputs, test)

    def fed(self, outputs: Reference) -> str:
        return f"probe and {outputs.images} test images" if outputs.images else "probe"

    def accuracy(self, graph: GraphArtifact, outputs: Reference) -> dict[str, Any] | None:
        """The first output's on the test images; None where none were fed."""
        part = fitting_test_part(self.cfg, graph.inputs).part if outputs.test_outputs else None
        return None if part is None or not outputs.test_outputs else accuracy_of(self.cfg, part, outputs.test_outputs)


def _behind(bench: _Bench, graph: GraphArtifact, begin: dict[str, str]) -> Reference:
    """The probe's outputs where the quantizers begin: what they feed is what the rescaling gives."""
    given = [name for name in graph.input_names if name not in begin]
    ends = [*begin.values(), *given]
    with RestoredRunner(graph.graph_def, ends, bench.folder / CHECKPOINT) as runner:
        values = dict(zip(ends, runner.run(bench.probe), strict=True))
    behind = fed_behind(graph.graph_def, begin)
    lean = prune(behind, frozenset([*ends, *graph.output_names])).graph_def
    with RestoredRunner(lean, graph.output_names, bench.folder / CHECKPOINT) as runner:
        return Reference(bench.probe, runner.run(values), None)


def _change(name: str, exact: bool, after: Reference, before: Reference) -> dict[str, Any]:
    """{"exact", "max_abs_diff", "tolerance"}: the difference nearest to its tolerance, or the largest of all."""
    worst, allowed = 0.0, TOLERANCE
    for got, wanted in [*_pairs(after.outputs, before.outputs), *_pairs(after.test_outputs, before.test_outputs)]:
        tolerance = TOLERANCE * max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)))
        difference = max_abs_diff(got, wanted)
        if exact and difference > tolerance:
            raise StageError(
                f"the fix {name} changes what the graph gives",
                expected=f"a difference of at most {tolerance:.3g}",
                found=f"{difference:.3g}",
                remedy="leave it out of optimize_for_inference.fixes, and please report the model",
            )
        if difference / tolerance > worst / allowed:
            worst, allowed = difference, tolerance
    return {"exact": exact, "max_abs_diff": worst, "tolerance": allowed if exact else None}


def _pairs(
    after: Sequence[np.ndarray] | None, before: Sequence[np.ndarray] | None
) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    return list(zip(after, before, strict=True)) if after is not None and before is not None else []
