"""All rewrites on graphs that are legal and unusual: structure and, after each rewrite, numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from graphs import V1, image, node, normal, ops, statistics
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.graph.rewrite import optimize

RAW = tf.raw_ops
IMAGES = np.random.default_rng(5).normal(size=(2, 6, 6, 3)).astype(np.float32)


def optimized(make: Callable[[np.random.Generator], object], **feeds: np.ndarray) -> GraphDef:
    """The graph that `make` builds with the output out, after all rewrites, with the numbers compared after each."""
    probe: Mapping[str, np.ndarray] = {"x": IMAGES, **feeds}
    with tf.Graph().as_default() as graph:
        make(np.random.default_rng(7))
    inputs = tuple(TensorSpec(name, value.shape, "float32") for name, value in probe.items())
    artifact = GraphArtifact(graph.as_graph_def(), inputs, (TensorSpec("out", (), "float32"),), "1.15")
    return optimize(artifact, probe)[0].graph_def


def norm(y: tf.Tensor, random: np.random.Generator, name: str) -> tf.Tensor:
    gamma, beta, mean, variance = statistics(random, int(y.shape[-1]))
    options = {"epsilon": 1e-3, "is_training": False, "name": name}
    return RAW.FusedBatchNormV3(x=y, scale=gamma, offset=beta, mean=mean, variance=variance, **options)[0]


def conv(x: tf.Tensor, random: np.random.Generator, name: str) -> tf.Tensor:
    return tf.nn.conv2d(x, normal(random, 3, 3, 3, 4), 1, "SAME", name=name)


def test_two_layers_in_one_scope():
    """The first fold takes the scope's BiasAdd over; the second must not take it again."""

    def make(random):
        x = image()
        first = norm(tf.nn.bias_add(conv(x, random, "b/c1"), normal(random, 4), name="b/BiasAdd"), random, "n1")
        second = norm(tf.nn.bias_add(conv(x, random, "b/c2"), normal(random, 4), name="b/BiasAdd_1"), random, "n2")
        tf.add(tf.nn.relu(first), tf.nn.relu(second), name="out")

    assert ops(optimized(make)) == {"Conv2D": 2, "BiasAdd": 2, "Relu": 2, "AddV2": 1}


def test_a_norm_that_is_called_as_the_new_bias():
    def make(random):
        tf.nn.relu(norm(conv(image(), random, "c/Conv2D"), random, "c/bias"), name="out")

    result = optimized(make)
    assert ops(result) == {"Conv2D": 1, "BiasAdd": 1, "Relu": 1}
    assert max(Counter(n.name for n in result.node).values()) == 1


def test_a_second_output_that_is_computed_on():
    def make(random):
        parts = tf.split(tf.constant(normal(random, 6)), 2)
        tf.add(image() * parts[0], parts[1] * 2.0 + 1.0, name="out")

    assert ops(optimized(make)) == {"Mul": 1, "AddV2": 1}


def test_a_second_output_from_which_something_large_is_made():
    def make(random):
        x, parts = image(), tf.split(tf.constant(normal(random, 6)), 2)
        large = tf.tile(tf.reshape(parts[1], [1, 1, 1, 3]), [2, 600, 600, 1])
        tf.add(tf.reduce_sum(x * parts[0]), tf.reduce_max(large + tf.reduce_max(x)), name="out")

    result = optimized(make)
    assert ops(result)["Tile"] == 1
    assert ops(result)["Split"] == 0
    assert result.ByteSize() < 10_000


def test_a_default_that_is_computed_does_not_take_the_place_of_what_is_fed():
    def make(random):
        factor = V1.placeholder_with_default(tf.fill([3], 2.0), [3], name="factor")
        tf.multiply(image(), factor * 3.0, name="out")

    assert node(optimized(make, factor=normal(np.random.default_rng(1), 3)), "factor").op == "PlaceholderWithDefault"


def test_a_loop_whose_body_has_constants_and_that_waits_for_a_norm():
    def body(i, value):
        # TensorFlow gives constants in a body a control input; without it, they would stand outside the loop.
        return i + 1, value * tf.add(tf.constant(1.0), tf.constant(2.0))

    def make(random):
        x = image()
        y = norm(conv(x, random, "c/Conv2D"), random, "bn")
        with V1.get_default_graph().control_dependencies([y]):
            start = tf.nn.relu(x)
        V1.disable_control_flow_v2()
        try:
            end = V1.while_loop(lambda i, value: i < 3, body, [tf.constant(0), start])[1]
        finally:
            V1.enable_control_flow_v2()
        tf.add(tf.reduce_sum(end), tf.reduce_sum(tf.nn.relu(y)), name="out")

    found = ops(optimized(make))
    assert found["FusedBatchNormV3"] == 0
    assert found["NextIteration"] == 2


def test_half_precision_is_left():
    def make(random):
        flat = tf.cast(tf.reshape(image(), [-1, 108]) / 9.0, tf.float16)
        y = tf.matmul(flat, normal(random, 108, 5).astype(np.float16)) * normal(random, 5).astype(np.float16)
        tf.cast(y, tf.float32, name="out")

    assert ops(optimized(make))["Mul"] == 1
