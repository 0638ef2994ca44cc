"""Runs a GraphDef by tensor names in today's TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import StageError, nearest
from dnndk_prep.graph.weights import stand_ins


def imported(graph_def: GraphDef) -> tf.Graph:
    """`graph_def` as a tf.Graph, and itself unchanged; constants that lie apart are placeholders.

    Raises ValueError with TensorFlow's words if it is no graph.
    """
    graph = tf.Graph()
    with graph.as_default():
        # A copy: TensorFlow writes today's default attributes into what it imports, and old readers refuse them.
        tf.graph_util.import_graph_def(stand_ins(graph_def)[0], name="")
    return graph


class GraphRunner:
    """A session over one GraphDef; `run(feeds)` gives the outputs in the order of `outputs`.

    Names are node names (`conv1/Relu`) or tensor names (`split:1`).
    """

    def __init__(self, graph_def: GraphDef, outputs: Sequence[str]) -> None:
        self._graph = imported(graph_def)
        self._weights = stand_ins(graph_def)[1]
        self._outputs = [self._tensor(name) for name in outputs]
        # The graph as it stands: TensorFlow's own optimizer would fold it too, and takes most of the first run.
        options = tf.compat.v1.ConfigProto()
        options.graph_options.rewrite_options.disable_meta_optimizer = True
        # A graph of another machine may name devices that are not here.
        options.allow_soft_placement = True
        self._session = tf.compat.v1.Session(graph=self._graph, config=options)

    def _tensor(self, name: str) -> tf.Tensor:
        try:
            return self._graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
        except (KeyError, ValueError) as error:
            names = [op.name for op in self._graph.get_operations()]
            raise StageError(
                f"the graph has no node {name!r}",
                expected="a node of the graph",
                found=name,
                remedy=f"nearest names: {', '.join(nearest(name.split(':')[0], names)) or 'none alike'}",
                code="K2D-0004",
            ) from error

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs for one batch; `feeds` maps input names to arrays of the placeholder's dtype."""
        given = {self._tensor(name): value for name, value in (self._weights | dict(feeds)).items()}
        return self._session.run(self._outputs, given)

    def __enter__(self) -> GraphRunner:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._session.close()
