"""The table of fixes for what the quantizers do unsaid, applied only where they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.fixes import Change, Changed
from dnndk_prep.graph.fixes.clip import clip
from dnndk_prep.graph.fixes.early_relu import early_relu
from dnndk_prep.graph.fixes.later_output import later_output
from dnndk_prep.graph.fixes.leaky_26_256 import leaky_26_256
from dnndk_prep.graph.fixes.norms import norm_before_add, norm_behind_mean
from dnndk_prep.graph.fixes.zero_bias import zero_bias
from dnndk_prep.graph.rewrites.prune import prune

# No change of the graph, but of where the quantizers begin: dnndk_prep.graph.fixes.cut_rescaling.
CUT_RESCALING = "cut_rescaling"


@dataclass(frozen=True)
class Fix:
    """exact: whether it keeps every number, but for the rounding of float32."""

    change: Change
    exact: bool = True


# In the order in which they are applied: a batch norm that goes may leave a layer before a sum, or a ReLU behind one.
FIXES: Mapping[str, Fix] = {
    "norm_before_add": Fix(norm_before_add),
    "norm_behind_mean": Fix(norm_behind_mean),
    "zero_bias": Fix(zero_bias),
    "early_relu": Fix(early_relu),
    "clip": Fix(clip),
    "leaky_26_256": Fix(leaky_26_256, exact=False),
    "later_output": Fix(later_output),
}


def fixed(graph_def: GraphDef, name: str, keep: frozenset[str]) -> Changed:
    """The graph with the fix, without what no kept node needs; the same graph where there is nothing to mend."""
    done = FIXES[name].change(graph_def, keep)
    return Changed(prune(done.graph_def, keep).graph_def, done.nodes) if done.nodes else Changed(graph_def, ())
