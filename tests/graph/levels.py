"""Small graphs written for a reader, and the check that nothing but the form changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.errors import StageError
from dnndk_prep.graph.artifact import serialize
from dnndk_prep.graph.readers import PRODUCERS, for_reader, registry_of
from dnndk_prep.graph.run import GraphRunner

V1, RAW = tf.compat.v1, tf.raw_ops
READERS = list(PRODUCERS)
X = np.random.default_rng(3).normal(size=(2, 6, 6, 4)).astype(np.float32)
VECTOR = np.array([0.5, 1, 2, 3], np.float32)


def graph_of(make: Callable[[tf.Tensor], object], shape: tuple[int | None, ...] = (None, 6, 6, 4)) -> GraphDef:
    """The graph that `make` builds on the placeholder x; it names its result out."""
    with tf.Graph().as_default() as graph:
        make(V1.placeholder(tf.float32, shape, name="x"))
    return graph.as_graph_def()


def written(graph_def: GraphDef, reader: str) -> GraphDef:
    return for_reader(graph_def, reader, frozenset(["x", "out"]))


def check(graph_def: GraphDef, reader: str, x: np.ndarray = X) -> GraphDef:
    """The graph for `reader`: nothing but what the reader knows, the same numbers, and the old graph as it was."""
    before = serialize(graph_def)
    result = written(graph_def, reader)
    assert serialize(graph_def) == before
    registry = registry_of(reader)
    for node in result.node:
        assert set(node.attr) <= set(registry[node.op]["attrs"]), node.name
    # Copies: TensorFlow writes today's defaults into a graph that it imports.
    with GraphRunner(copy(graph_def), ["out"]) as old, GraphRunner(copy(result), ["out"]) as new:
        wanted, got = old.run({"x": x})[0], new.run({"x": x})[0]
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= 1e-6 * max(1.0, np.abs(wanted).max())
    return result


def copy(graph_def: GraphDef) -> GraphDef:
    return GraphDef.FromString(serialize(graph_def))


def refused(graph_def: GraphDef, reader: str) -> StageError:
    with pytest.raises(StageError) as caught:
        written(graph_def, reader)
    return caught.value


def out(graph_def: GraphDef, name: str = "out") -> NodeDef:
    return next(node for node in graph_def.node if node.name == name)


def ops(graph_def: GraphDef) -> list[str]:
    return sorted(node.op for node in graph_def.node if node.op not in ("Const", "Placeholder"))


def norm(x: tf.Tensor, **options) -> list[tf.Tensor]:
    options = {"epsilon": 1e-3, "is_training": False, "name": "out", **options}
    return RAW.FusedBatchNormV3(x=x, scale=VECTOR, offset=VECTOR, mean=VECTOR, variance=VECTOR, **options)
