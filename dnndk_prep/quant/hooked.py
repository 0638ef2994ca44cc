"""Runs a graph in TensorFlow, with NumPy in the place of some nodes: there positions are chosen and values rounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.errors import StageError
from dnndk_prep.graph.run import imported
from dnndk_prep.graph.weights import stand_ins
from dnndk_prep.quant.fixed import pruned
from dnndk_prep.quant.network import Node, to_def
from dnndk_prep.said import first_line

# What a hook makes of the inputs of its node: an array of float32 each.
Hook = Callable[..., np.ndarray]


class HookedGraph:
    """A session over `nodes`, in which the nodes with a hook are computed by it; each of them gives one float32 array.

    What a hook raises as StageError leaves `run` as it is.
    """

    def __init__(self, nodes: Sequence[Node], hooks: Mapping[str, Hook], ends: Sequence[str]) -> None:
        """`ends` are the nodes to compute."""
        self._raised: list[StageError] = []
        needed = pruned(nodes, ends)
        made, self._kept = self._python_nodes({item.name: item for item in needed if item.name in hooks}, hooks)
        graph_def = GraphDef()
        graph_def.node.extend(made.get(item.name) or to_def(item) for item in needed)
        self._graph = imported(graph_def)
        self._weights = stand_ins(graph_def)[1]
        options = tf.compat.v1.ConfigProto()
        # The graph as it stands: an optimizer that merged or moved factors would change the last bits.
        options.graph_options.rewrite_options.disable_meta_optimizer = True
        # A graph of another machine may name devices that are not here.
        options.allow_soft_placement = True
        self._session = tf.compat.v1.Session(graph=self._graph, config=options)

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str] = (), only: Sequence[str] = ()
    ) -> list[np.ndarray]:
        """The first outputs of `fetches`; the nodes `only` are computed for what their hooks do.

        Raises StageError for arrays with which TensorFlow cannot compute.
        """
        operation = self._graph.get_operation_by_name
        wanted = [operation(name).outputs[0] for name in fetches], [operation(name) for name in only]
        given = {f"{name}:0": value for name, value in feeds.items()} | self._weights
        try:
            return self._session.run(wanted, given)[0]
        # ValueError: an array that does not fit its placeholder.
        except (tf.errors.OpError, ValueError) as error:
            if self._raised:
                raise self._raised.pop() from None
            raise StageError(
                "TensorFlow cannot compute the graph with the calibration data",
                expected="arrays that fit the placeholders and what is computed of them",
                found=first_line(error),
                remedy="check the shapes of the arrays",
            ) from error

    def _python_nodes(
        self, nodes: Mapping[str, Node], hooks: Mapping[str, Hook]
    ) -> tuple[dict[str, NodeDef], tf.Graph]:
        """The nodes that call the hooks, as TensorFlow makes them; the graph keeps the functions alive."""
        with tf.Graph().as_default() as graph:
            for i, item in enumerate(nodes.values()):
                values = [tf.compat.v1.placeholder(tf.float32) for _ in item.inputs]
                tf.numpy_function(self._guarded(hooks[item.name]), values, tf.float32, name=f"hook_{i}")
        found = graph.as_graph_def()
        made = {}
        for item, call in zip(nodes.values(), (one for one in found.node if one.name.startswith("hook_")), strict=True):
            call.name = item.name
            call.input[:] = item.inputs
            made[item.name] = call
        return made, graph

    def _guarded(self, hook: Hook) -> Hook:
        def guarded(*values: np.ndarray) -> np.ndarray:
            try:
                return hook(*values)
            except StageError as error:
                self._raised.append(error)
                raise

        return guarded

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._session.close()
