"""`optimize`: the rewrites in their order, each one checked before the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import StageError
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.compare import require_same
from dnndk_prep.graph.rewrites import Rewrite
from dnndk_prep.graph.rewrites.bias_to_layer import bias_to_layer
from dnndk_prep.graph.rewrites.distinct_names import distinct_names
from dnndk_prep.graph.rewrites.fold_batch_norms import fold_batch_norms
from dnndk_prep.graph.rewrites.fold_constants import fold_constants
from dnndk_prep.graph.rewrites.fuse_dilations import fuse_dilations
from dnndk_prep.graph.rewrites.merge_moves import merge_moves
from dnndk_prep.graph.rewrites.move_batch_norms import move_batch_norms
from dnndk_prep.graph.rewrites.one_relu6 import one_relu6
from dnndk_prep.graph.rewrites.prune import prune
from dnndk_prep.graph.rewrites.reduction_axes import reduction_axes
from dnndk_prep.graph.rewrites.remove_pass_through import remove_pass_through
from dnndk_prep.graph.rewrites.static_shapes import static_shapes
from dnndk_prep.graph.rewrites.transposed_sizes import transposed_sizes
from dnndk_prep.graph.rewrites.unshare import unshare
from dnndk_prep.graph.run import GraphRunner, imported
from dnndk_prep.graph.topology import by_name, node_of, reachable
from dnndk_prep.said import first_line

SAVER = ("SaveV2", "RestoreV2")

REWRITES: tuple[Rewrite, ...] = (
    # First: an Identity between a constant and its reader hides the constant from all that follow.
    remove_pass_through,
    # Before constants are folded: a known Shape is a constant from which others follow.
    static_shapes,
    # Before the fold: a decomposed batch norm is Rsqrt, Mul and Sub of constants until they are computed.
    fold_constants,
    # Behind both: paddings, orders of axes and bounds are constants now.
    one_relu6,
    fuse_dilations,
    merge_moves,
    reduction_axes,
    # Before the fold: what was computed is read by nodes that nobody needs, and a layer with two readers cannot fold.
    prune,
    # Before the fold, which looks at the layer directly before a batch norm.
    move_batch_norms,
    fold_batch_norms,
    # Behind the fold, which makes a bias of whatever adds a vector.
    bias_to_layer,
    # Behind static_shapes and prune, which would take the form apart again.
    transposed_sizes,
    # The constants that were folded in.
    prune,
    # Last: whatever made a node has named it.
    distinct_names,
)

Runner = Callable[[GraphDef, Sequence[str]], GraphRunner]


@dataclass(frozen=True)
class RewriteReport:
    """What one rewrite did: nodes before and after, difference from the first graph, what it left and why."""

    name: str
    before: int
    after: int
    max_abs_diff: float | None
    notes: tuple[str, ...] = ()


def optimize(
    artifact: GraphArtifact,
    probe: Mapping[str, np.ndarray] | None,
    runner: Runner = GraphRunner,
    own_constants: bool = False,
) -> tuple[GraphArtifact, list[RewriteReport]]:
    """The graph after all REWRITES, inputs and outputs under their names, and a report for each.

    With a probe batch (a float array an input), the outputs are compared after each rewrite with those of the graph
    that came in; without one, the structure alone is checked. own_constants: a layer that is computed more than once
    gets a kernel and a bias for each time. Raises StageError or NumericsError that names the
    rewrite which broke the graph or changed an output by more than 1e-4 x max(1, max|y|).
    """
    names = [node_of(name) for name in [*artifact.input_names, *artifact.output_names]]
    keep = frozenset([*names, *_saver_ends(artifact.graph_def)])
    wanted = None if probe is None else _outputs(artifact.graph_def, artifact.output_names, probe, runner)
    difference = None if wanted is None else 0.0
    graph_def, reports = artifact.graph_def, []
    for rewrite in (*REWRITES[:-1], unshare, REWRITES[-1]) if own_constants else REWRITES:
        before, name = len(graph_def.node), rewrite.__name__
        with _naming(name):
            done = rewrite(graph_def, keep)
            is_new = done.graph_def is not graph_def
            graph_def = done.graph_def
            _check(graph_def, keep, name)
            if is_new and wanted is not None and probe is not None:
                got = _outputs(graph_def, artifact.output_names, probe, runner)
                problem = f"the rewrite {name} changed what the graph gives"
                difference = require_same(artifact.output_names, got, wanted, problem)["max_abs_diff"]
            elif is_new:
                imported(graph_def)
        reports.append(RewriteReport(name, before, len(graph_def.node), difference, done.notes))
    return replace(artifact, graph_def=graph_def), reports


@contextmanager
def _naming(rewrite: str) -> Iterator[None]:
    """What TensorFlow says of a graph, with the rewrite that made it."""
    try:
        yield
    except (ValueError, tf.errors.OpError) as error:
        raise StageError(
            f"the rewrite {rewrite} failed, or made a graph that TensorFlow refuses",
            expected="a graph that can be imported and run",
            found=first_line(error),
            remedy="please report the model",
        ) from error


def _saver_ends(graph_def: GraphDef) -> list[str]:
    """The nodes that save and restore kept variables: nothing reads them, and whoever runs the graph needs them."""
    nodes = by_name(graph_def)
    if not any(node.op in SAVER for node in nodes.values()):
        return []
    read = {node_of(name) for node in graph_def.node for name in node.input}
    ends = [name for name in nodes if name not in read]
    return [end for end in ends if any(nodes[name].op in SAVER for name in reachable(nodes, [end]))]


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
