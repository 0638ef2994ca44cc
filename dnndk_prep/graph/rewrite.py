"""`optimize`: the rewrites in their order, each one checked before the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import NumericsError, StageError
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.rewrites import Rewrite
from dnndk_prep.graph.rewrites.fold_batch_norms import fold_batch_norms
from dnndk_prep.graph.rewrites.fold_constants import fold_constants
from dnndk_prep.graph.rewrites.prune import prune
from dnndk_prep.graph.rewrites.remove_pass_through import remove_pass_through
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.graph.topology import by_name, node_of

TOLERANCE = 1e-4

REWRITES: tuple[Rewrite, ...] = (
    # First: an Identity between a constant and its reader hides the constant from all that follow.
    remove_pass_through,
    # Before the fold: a decomposed batch norm is Rsqrt, Mul and Sub of constants until they are computed.
    fold_constants,
    fold_batch_norms,
    # Last: what the folds computed or took in is now read by nobody.
    prune,
)

Runner = Callable[[GraphDef, Sequence[str]], GraphRunner]


@dataclass(frozen=True)
class RewriteReport:
    """What one rewrite did: nodes before and after, the largest difference it made, what it left and why."""

    name: str
    before: int
    after: int
    max_abs_diff: float | None
    notes: tuple[str, ...] = ()


def optimize(
    artifact: GraphArtifact, probe: Mapping[str, np.ndarray] | None, runner: Runner = GraphRunner
) -> tuple[GraphArtifact, list[RewriteReport]]:
    """The graph after all REWRITES, inputs and outputs under their names, and a report for each.

    With a probe batch (a float array an input), the outputs are compared after each rewrite with those of the graph
    that came in; without one, the structure alone is checked. Raises StageError or NumericsError that names the
    rewrite which broke the graph or changed an output by more than 1e-4 x max(1, max|y|).
    """
    names = [node_of(name) for name in [*artifact.input_names, *artifact.output_names]]
    # What nobody reads in a frozen graph is there on purpose: an output, or the Saver of a kept variable.
    read = {node_of(name) for node in artifact.graph_def.node for name in node.input}
    keep = frozenset([*names, *(node.name for node in artifact.graph_def.node if node.name not in read)])
    wanted = None if probe is None else _outputs(artifact.graph_def, artifact.output_names, probe, runner)
    graph_def, reports = artifact.graph_def, []
    for rewrite in REWRITES:
        before, name = len(graph_def.node), rewrite.__name__
        done = rewrite(graph_def, keep)
        graph_def = done.graph_def
        _check(graph_def, keep, name)
        difference = None
        if wanted is not None and probe is not None:
            difference = _compare(_outputs(graph_def, artifact.output_names, probe, runner), wanted, name)
        reports.append(RewriteReport(name, before, len(graph_def.node), difference, done.notes))
    return replace(artifact, graph_def=graph_def), reports


def _outputs(
    graph_def: GraphDef, names: Sequence[str], probe: Mapping[str, np.ndarray], runner: Runner
) -> list[np.ndarray]:
    with runner(graph_def, names) as running:
        return running.run(probe)


def _check(graph_def: GraphDef, keep: frozenset[str], rewrite: str) -> None:
    nodes = by_name(graph_def)
    if len(nodes) != len(graph_def.node):
        raise StageError(f"the rewrite {rewrite} made two nodes of one name", remedy="please report the model")
    missing = {node_of(name) for node in graph_def.node for name in node.input} - nodes.keys()
    missing |= keep - nodes.keys()
    if missing:
        raise StageError(
            f"the rewrite {rewrite} lost nodes that are still needed",
            expected="every input and output, and every node that another reads",
            found=f"missing: {', '.join(sorted(missing)[:5])}",
            remedy="please report the model",
        )


def _compare(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray], rewrite: str) -> float:
    worst = 0.0
    for a, b in zip(got, wanted, strict=True):
        tolerance = TOLERANCE * max(1.0, float(np.abs(b).max(initial=0.0)))
        difference = float(np.abs(a.astype(np.float64) - b).max(initial=0.0)) if a.shape == b.shape else np.inf
        # Written so that NaN fails too.
        if not difference <= tolerance:
            raise NumericsError(
                f"the rewrite {rewrite} changed the graph's output",
                expected=f"a difference of at most {tolerance:.3g}",
                found=f"{difference:.3g}",
                remedy="please report the model",
            )
        worst = max(worst, difference)
    return worst
