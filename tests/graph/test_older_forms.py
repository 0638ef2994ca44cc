"""The older forms of nodes that an older TensorFlow does not know."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from levels import RAW, READERS, VECTOR, X, check, graph_of, norm, ops, out, refused


@pytest.mark.parametrize(
    ("reader", "op"), [("1.9", "FusedBatchNorm"), ("1.12", "FusedBatchNorm"), ("1.15", "FusedBatchNormV3")]
)
@pytest.mark.parametrize("factor", [1.0, 0.9])
def test_batch_norm(reader: str, op: str, factor: float):
    result = check(graph_of(lambda x: norm(x, exponential_avg_factor=factor)), reader)
    assert ops(result) == [op]


def test_a_batch_norm_without_its_defaults():
    graph_def = graph_of(lambda x: norm(x, epsilon=1e-4))
    for name in ("epsilon", "data_format", "exponential_avg_factor"):
        del out(graph_def).attr[name]
    assert ops(check(graph_def, "1.9")) == ["FusedBatchNorm"]


def test_batch_norm_in_training_has_no_older_form():
    def make(x: tf.Tensor) -> None:
        empty = np.zeros(0, np.float32)
        RAW.FusedBatchNormV3(x=x, scale=VECTOR, offset=VECTOR, mean=empty, variance=empty, name="out")

    assert "out (FusedBatchNormV3)" in str(refused(graph_of(make), "1.9"))


@pytest.mark.parametrize("index", [1, 5])
def test_batch_norm_whose_statistics_are_read_has_no_older_form(index: int):
    graph_def = graph_of(lambda x: tf.identity(norm(x, name="bn")[index], name="out"))
    assert "bn (FusedBatchNormV3)" in str(refused(graph_def, "1.12"))


def test_batch_norm_of_half_precision_has_no_older_form():
    graph_def = graph_of(lambda x: tf.cast(norm(tf.cast(x, tf.float16), name="bn")[0], tf.float32, name="out"))
    assert "bn (FusedBatchNormV3)" in str(refused(graph_def, "1.9"))


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0, -0.5])
@pytest.mark.parametrize(
    ("reader", "made"), [("1.9", ["Maximum", "Mul"]), ("1.12", ["Maximum", "Mul"]), ("1.15", ["LeakyRelu"])]
)
def test_leaky_relu(reader: str, made: list[str], alpha: float):
    assert ops(check(graph_of(lambda x: tf.nn.leaky_relu(x, alpha, name="out")), reader)) == made


def test_leaky_relu_that_leaves_its_slope_to_the_op():
    graph_def = graph_of(lambda x: tf.nn.leaky_relu(x, 0.2, name="out"))
    del out(graph_def).attr["alpha"]
    assert ops(check(graph_def, "1.9")) == ["Maximum", "Mul"]


def test_a_leaky_relu_steeper_than_one_has_no_older_form():
    text = str(refused(graph_of(lambda x: tf.nn.leaky_relu(x, 1.5, name="out")), "1.12"))
    assert "out (LeakyRelu)" in text
    assert 'graph.reader: "1.15"' in text


def test_new_nodes_take_no_name_that_is_taken():
    def make(x: tf.Tensor) -> None:
        y = tf.nn.relu(tf.nn.tanh(x, name="out/mul"), name="out/alpha")
        tf.nn.leaky_relu(y - 1.0, 0.1, name="out")

    result = check(graph_of(make), "1.9")
    names = [node.name for node in result.node]
    assert len(set(names)) == len(names)
    assert {out(result, "out/mul").op, out(result, "out/alpha").op} == {"Tanh", "Relu"}


def explicit_conv(x: tf.Tensor) -> None:
    tf.nn.conv2d(x, np.ones((3, 3, 4, 2), np.float32), 2, [[0, 0], [1, 0], [2, 1], [0, 0]], name="out")


def explicit_depthwise(x: tf.Tensor) -> None:
    RAW.DepthwiseConv2dNative(
        input=x,
        filter=np.ones((3, 3, 4, 2), np.float32),
        strides=[1, 1, 1, 1],
        padding="EXPLICIT",
        explicit_paddings=[0, 0, 1, 1, 0, 2, 0, 0],
        name="out",
    )


@pytest.mark.parametrize(
    ("make", "reader", "made"),
    [
        (explicit_conv, "1.9", ["Conv2D", "Pad"]),
        (explicit_conv, "1.12", ["Conv2D", "Pad"]),
        (explicit_conv, "1.15", ["Conv2D"]),
        (explicit_depthwise, "1.9", ["DepthwiseConv2dNative", "Pad"]),
        (explicit_depthwise, "1.15", ["DepthwiseConv2dNative", "Pad"]),
    ],
)
def test_explicit_padding(make: Callable, reader: str, made: list[str]):
    assert ops(check(graph_of(make), reader)) == made


SOFTMAXES = {"Softmax": tf.nn.softmax, "LogSoftmax": tf.nn.log_softmax}


@pytest.mark.parametrize("op", SOFTMAXES)
@pytest.mark.parametrize(("shape", "x"), [((None, 6, 4), X[0]), ((None, 6, 6, 4), X), ((4,), X[0, 0, 0])])
def test_softmax_of_other_ranks_goes_through_a_matrix_in_1_9(op: str, shape: tuple, x: np.ndarray):
    graph_def = graph_of(lambda t: SOFTMAXES[op](t, name="out"), shape)
    assert ops(check(graph_def, "1.9", x)) == sorted(["Reshape", "Reshape", op])
    assert ops(check(graph_def, "1.12", x)) == [op]


@pytest.mark.parametrize("op", SOFTMAXES)
def test_softmax_of_a_matrix_stays(op: str):
    assert ops(check(graph_of(lambda t: SOFTMAXES[op](t, name="out"), (None, 4)), "1.9", X[0, 0])) == [op]


def test_softmax_over_an_unknown_number_has_no_older_form():
    graph_def = graph_of(lambda x: tf.nn.softmax(x, name="out"), (None, 6, None))
    assert "out (Softmax)" in str(refused(graph_def, "1.9"))


def nearest(x: tf.Tensor, size: object, **options: bool) -> None:
    RAW.ResizeNearestNeighbor(images=x, size=size, name="out", **{"half_pixel_centers": True, **options})


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("size", [[12, 18], [6, 6], [42, 66]])
def test_growing_by_whole_factors_needs_no_half_pixels(reader: str, size: list[int]):
    result = check(graph_of(lambda x: nearest(x, size)), reader)
    assert ("half_pixel_centers" in out(result).attr) == (reader == "1.15")


def test_growing_by_whole_factors_where_the_size_is_free():
    """As Keras' UpSampling2D writes it."""
    free = (None, None, None, 4)
    check(graph_of(lambda x: nearest(x, tf.shape(x)[1:3] * np.array([2, 3], np.int32)), free), "1.9")


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((None, None, None, 4), lambda x: [12, 12]),
        ((None, None, None, 4), lambda x: tf.shape(x)[0:2] * np.array([2, 2], np.int32)),
    ],
    ids=["of unknown", "other axes"],
)
def test_half_pixels_that_count_are_refused(shape: tuple, size: Callable):
    text = str(refused(graph_of(lambda x: nearest(x, size(x)), shape), "1.12"))
    assert "half_pixel_centers" in text
    assert 'graph.reader: "1.15"' in text
