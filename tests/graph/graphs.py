"""Small graphs for the tests of the rewrites, and the check that a rewrite changes no number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.artifact import serialize
from dnndk_prep.graph.rewrites import Rewrite, Rewritten
from dnndk_prep.graph.rewrites.prune import prune
from dnndk_prep.graph.run import GraphRunner

V1 = tf.compat.v1


class Made:
    """A GraphDef with the feeds of its placeholders; `random` gives the same numbers in every run."""

    def __init__(self, make: Callable[[np.random.Generator], object], **feeds: tuple[int, ...]) -> None:
        random = np.random.default_rng(7)
        with tf.Graph().as_default() as graph:
            make(random)
        self.graph_def = graph.as_graph_def()
        self.feeds = {name: random.normal(size=shape).astype(np.float32) for name, shape in feeds.items()}

    def run(self, graph_def: GraphDef, outputs: Iterable[str]) -> list[np.ndarray]:
        with GraphRunner(graph_def, list(outputs)) as runner:
            return runner.run(self.feeds)

    def check(self, rewrite: Rewrite, *outputs: str, tolerance: float = 1e-6) -> Rewritten:
        """What `rewrite` makes, without what nobody reads: the same numbers and bytes, and its graph is as it was."""
        before, keep = serialize(self.graph_def), frozenset([*self.feeds, *outputs])
        done = rewrite(self.graph_def, keep)
        assert serialize(self.graph_def) == before
        assert serialize(rewrite(self.graph_def, keep).graph_def) == serialize(done.graph_def)
        wanted, got = self.run(self.graph_def, outputs), self.run(done.graph_def, outputs)
        for a, b in zip(got, wanted, strict=True):
            assert a.shape == b.shape
            assert np.abs(a - b).max() <= tolerance * max(1.0, np.abs(b).max())
        return Rewritten(prune(done.graph_def, keep).graph_def, done.notes)


def image(channels: int = 3, size: int | None = 6) -> tf.Tensor:
    return V1.placeholder(tf.float32, [None, size, size, channels], name="x")


def normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.normal(size=shape).astype(np.float32)


def statistics(random: np.random.Generator, channels: int) -> tuple[np.ndarray, ...]:
    """gamma, beta, mean and variance of a batch norm."""
    gamma, beta, mean = (normal(random, channels) for _ in range(3))
    return gamma, beta, mean, random.uniform(0.1, 2, channels).astype(np.float32)


def ops(graph_def: GraphDef) -> Counter[str]:
    """How many nodes of each op there are; constants and placeholders aside."""
    return Counter(node.op for node in graph_def.node if node.op not in ("Const", "Placeholder"))


def node(graph_def: GraphDef, name: str) -> NodeDef:
    return next(node for node in graph_def.node if node.name == name)
