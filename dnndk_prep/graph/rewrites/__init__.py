"""The rewrites of `optimize_for_inference`, one a file; their order is in dnndk_prep.graph.rewrite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tensorflow.core.framework.graph_pb2 import GraphDef


@dataclass(frozen=True)
class Rewritten:
    """A new graph, and what the rewrite left alone, with the reason."""

    graph_def: GraphDef
    notes: tuple[str, ...] = ()


# From a graph and the names of the nodes that must stay to a new graph; the old one is not changed.
Rewrite = Callable[[GraphDef, frozenset[str]], Rewritten]
