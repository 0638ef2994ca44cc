"""What Keras 3 spells in several nodes becomes one, and nothing else does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.freeze import prune
from dnndk_prep.graph.rewrites import Rewrite
from dnndk_prep.graph.rewrites.fuse_batch_norms import fuse_batch_norms
from dnndk_prep.graph.rewrites.products_of_rows import products_of_rows
from dnndk_prep.graph.rewrites.products_with_one import products_with_one
from dnndk_prep.graph.rewrites.repeats_to_resize import repeats_to_resize
from dnndk_prep.graph.rewrites.vector_biases import vector_biases
from dnndk_prep.graph.run import GraphRunner

RANDOM = np.random.default_rng(2)
IMAGE = (None, 4, 3, 5)
KEEP = frozenset(["x", "y"])


def vector(low: float = 0.5) -> np.ndarray:
    return RANDOM.uniform(low, 1.5, 5).astype(np.float32)


def norm(gamma: bool = True, beta: bool = True, epsilon: float = 1e-3, axis: int = -1) -> Callable[[Any], Any]:
    def build(x: Any) -> Any:
        size = x.shape[axis]
        mean, variance, shift, scale = (RANDOM.uniform(0.5, 1.5, size).astype(np.float32) for _ in range(4))
        sizes = [1] * x.shape.rank
        sizes[axis] = size
        parts = [part.reshape(sizes) if axis != -1 else part for part in (mean, variance, shift, scale)]
        consts = [tf.constant(part) for part in parts]
        return tf.nn.batch_normalization(
            x, consts[0], consts[1], consts[2] if beta else None, consts[3] if gamma else None, epsilon
        )

    return build


def repeated(*steps: tuple[int, int]) -> Callable[[Any], Any]:
    def build(x: Any) -> Any:
        for axis, times in steps:
            x = tf.repeat(x, times, axis=axis)
        return x

    return build


def bias_by_way_of_an_image(x: Any) -> Any:
    return tf.nn.bias_add(x, tf.squeeze(tf.reshape(tf.constant(vector()), [1, 1, 1, 5])))


def swapped_bias(x: Any) -> Any:
    """Here the move is no move of a vector: two numbers a channel, one of them taken."""
    return tf.nn.bias_add(x, tf.reshape(tf.constant(RANDOM.random((5, 1)).astype(np.float32)), [5]))


def by_one_matrix(x: Any) -> Any:
    return tf.matmul(x, tf.constant(RANDOM.random((5, 2)).astype(np.float32)))


def by_its_own_matrix(x: Any) -> Any:
    return tf.matmul(x, tf.transpose(x, [0, 1, 3, 2]))


# The rewrite, what is built, the input, ops that must be there afterwards, and ops that must not.
CASES: dict[str, tuple[Rewrite, Callable[[Any], Any], tuple[int | None, ...], str, str]] = {
    "norm": (fuse_batch_norms, norm(), IMAGE, "FusedBatchNormV3", "Rsqrt"),
    "norm without gamma": (fuse_batch_norms, norm(gamma=False), IMAGE, "FusedBatchNormV3", "Rsqrt"),
    "norm without beta": (fuse_batch_norms, norm(beta=False), IMAGE, "FusedBatchNormV3", "Rsqrt"),
    "norm with neither": (fuse_batch_norms, norm(False, False, 1e-5), IMAGE, "FusedBatchNormV3", "Rsqrt"),
    "norm of rows": (fuse_batch_norms, norm(), (None, 5), "Rsqrt", "FusedBatchNormV3"),
    "norm of another axis": (fuse_batch_norms, norm(axis=1), IMAGE, "Rsqrt", "FusedBatchNormV3"),
    "rows and columns": (repeats_to_resize, repeated((1, 2), (2, 3)), IMAGE, "ResizeNearestNeighbor", "Tile"),
    "columns": (repeats_to_resize, repeated((2, 4)), IMAGE, "ResizeNearestNeighbor", "Tile"),
    "channels": (repeats_to_resize, repeated((3, 2)), IMAGE, "Tile", "ResizeNearestNeighbor"),
    "examples": (repeats_to_resize, repeated((0, 2)), IMAGE, "Tile", "ResizeNearestNeighbor"),
    "of free sizes": (repeats_to_resize, repeated((1, 2)), (None, None, 3, 5), "Tile", "ResizeNearestNeighbor"),
    "bias": (vector_biases, bias_by_way_of_an_image, IMAGE, "BiasAdd", "Squeeze"),
    "bias of two axes": (vector_biases, swapped_bias, IMAGE, "Reshape", "Squeeze"),
    "one matrix": (products_of_rows, by_one_matrix, IMAGE, "MatMul", "BatchMatMulV2"),
    "two free sizes": (products_of_rows, by_one_matrix, (None, None, 3, 5), "BatchMatMulV2", "MatMul"),
    "own matrices": (products_of_rows, by_its_own_matrix, IMAGE, "BatchMatMulV2", "MatMul"),
    "times one": (products_with_one, lambda x: tf.tanh(x * 1.0) * 1.0, IMAGE, "Tanh", "none"),
    "times ones": (products_with_one, lambda x: tf.tanh(x * tf.ones(5)), IMAGE, "Mul", "none"),
}


def graph_of(build: Callable[[Any], Any], shape: tuple[int | None, ...]) -> GraphDef:
    with tf.Graph().as_default() as graph:
        tf.identity(build(tf.compat.v1.placeholder(tf.float32, shape, "x")), "y")
    return graph.as_graph_def()


@pytest.mark.parametrize("name", CASES)
def test_a_spelling(name: str):
    rewrite, build, shape, there, gone = CASES[name]
    before = graph_of(build, shape)
    blob = before.SerializeToString(deterministic=True)
    done = prune(rewrite(before, KEEP).graph_def, KEEP)
    assert before.SerializeToString(deterministic=True) == blob
    kinds = Counter(node.op for node in done.node)
    assert kinds[there] == 1 + (name == "rows and columns" and there == "Tile")
    assert not kinds[gone]
    feeds = {"x": RANDOM.normal(0, 1, [size or 4 for size in shape]).astype(np.float32)}
    values = []
    for graph_def in (before, done):
        with GraphRunner(graph_def, ["y"]) as runner:
            values += runner.run(feeds)
    np.testing.assert_allclose(values[1], values[0], rtol=1e-5, atol=1e-5)


def test_an_output_keeps_its_name_and_its_number():
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, IMAGE, "x")
        tf.multiply(norm()(x), 1.0, name="y")
    done = products_with_one(fuse_batch_norms(graph.as_graph_def(), KEEP).graph_def, KEEP)
    assert {"x", "y"} <= {node.name for node in done.graph_def.node}


def test_a_norm_is_called_after_its_layer():
    with tf.Graph().as_default() as graph, tf.name_scope("bn"):
        norm()(tf.compat.v1.placeholder(tf.float32, IMAGE, "x"))
    done = fuse_batch_norms(graph.as_graph_def(), frozenset(["bn/x"]))
    assert "bn/FusedBatchNormV3" in {node.name for node in done.graph_def.node}
