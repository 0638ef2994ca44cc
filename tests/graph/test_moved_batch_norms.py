"""Batch norms that are not directly behind a layer: moved before what parts them, or folded into the layer behind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from graphs import V1, Made, image, normal, ops, statistics

from dnndk_prep.graph.rewrites.fold_batch_norms import fold_batch_norms
from dnndk_prep.graph.rewrites.move_batch_norms import move_batch_norms

X = (2, 6, 6, 3)


def norm(x: tf.Tensor, random: np.random.Generator, positive: bool = True) -> tf.Tensor:
    gamma, beta, mean, variance = statistics(random, x.shape[-1])
    gamma = np.abs(gamma) if positive else -np.abs(gamma)
    return V1.nn.fused_batch_norm(x, gamma, beta, mean, variance, is_training=False, name="bn")[0]


def conv(x: tf.Tensor, random: np.random.Generator, channels: int, **options) -> tf.Tensor:
    kernel = normal(random, 3, 3, int(x.shape[-1]), channels)
    return V1.nn.conv2d(x, kernel, [1, 1, 1, 1], options.get("padding", "SAME"), name=options.get("name"))


def both(graph_def, keep):
    return fold_batch_norms(move_batch_norms(graph_def, keep).graph_def, keep)


def check(make: Callable) -> dict[str, int]:
    return ops(
        Made(lambda random: tf.nn.relu(make(random), name="out"), x=X).check(both, "out", tolerance=1e-5).graph_def
    )


def test_behind_a_concatenation_each_branch_takes_its_channels():
    def make(random):
        x = image()
        return norm(tf.concat([conv(x, random, 3), conv(x, random, 5)], -1), random)

    assert check(make) == {"Conv2D": 2, "BiasAdd": 2, "ConcatV2": 1, "Relu": 1}


def test_a_branch_that_is_no_layer_keeps_the_batch_norm():
    def make(random):
        x = image()
        return norm(tf.concat([conv(x, random, 3), x], -1), random)

    assert check(make)["FusedBatchNormV3"] == 1


@pytest.mark.parametrize(
    ("pool", "positive", "moves"),
    [("MAX", True, True), ("MAX", False, False), ("AVG", False, True)],
)
def test_behind_a_pool(pool: str, positive: bool, moves: bool):
    def make(random):
        pooled = tf.nn.pool(conv(image(), random, 4), [3, 3], pool, [2, 2], "SAME")
        return norm(pooled, random, positive)

    assert ("FusedBatchNormV3" not in check(make)) == moves


@pytest.mark.parametrize(("padding", "folds"), [("VALID", True), ("SAME", False)])
def test_the_convolution_behind_takes_it_in_where_nothing_is_padded(padding: str, folds: bool):
    def make(random):
        return conv(norm(tf.nn.tanh(image()), random), random, 4, padding=padding)

    assert ("FusedBatchNormV3" not in check(make)) == folds


def test_a_bias_that_is_there_takes_the_offset():
    def make(random):
        x = conv(norm(tf.nn.tanh(image()), random), random, 4, padding="VALID")
        return tf.nn.bias_add(x, normal(random, 4))

    assert check(make) == {"Tanh": 1, "Conv2D": 1, "BiasAdd": 1, "Relu": 1}


@pytest.mark.parametrize(
    "between",
    [
        lambda x: tf.reduce_mean(x, [1, 2]),
        lambda x: tf.reshape(tf.nn.avg_pool2d(x, 2, 2, "SAME"), [-1, 27]),
    ],
    ids=["mean", "average pool and flatten"],
)
def test_the_dense_layer_behind_takes_it_in(between: Callable):
    def make(random):
        x = between(norm(tf.nn.tanh(image()), random))
        return tf.matmul(x, normal(random, int(x.shape[-1]), 4))

    made = check(make)
    assert "FusedBatchNormV3" not in made
    assert made["BiasAdd"] == 1


def test_a_depthwise_convolution_takes_it_in():
    def make(random):
        x = norm(tf.nn.tanh(image()), random)
        return tf.nn.depthwise_conv2d(x, normal(random, 3, 3, 3, 2), [1, 1, 1, 1], "VALID")

    assert "FusedBatchNormV3" not in check(make)


def test_a_batch_norm_that_two_read_stays():
    def make(random):
        x = norm(tf.nn.tanh(image()), random)
        return conv(x, random, 3, padding="SAME") + x

    assert check(make)["FusedBatchNormV3"] == 1
