"""Older forms of resizes, convolutions in groups, Einsum, Select and pools: exact in numbers, known to the reader."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from levels import RAW, X, check, copy, graph_of, ops, out, refused, written

from dnndk_prep.graph.quantizer_forms import quantizer_forms
from dnndk_prep.graph.run import GraphRunner

RANDOM = np.random.default_rng(4)


def kernel(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def bilinear(x: tf.Tensor, size: object) -> None:
    RAW.ResizeBilinear(images=x, size=size, half_pixel_centers=True, name="out")


@pytest.mark.parametrize("reader", ["1.9", "1.12"])
@pytest.mark.parametrize("size", [(12, 12), (18, 6), (24, 30), (6, 6)])
def test_growing_by_whole_factors(reader: str, size: tuple[int, int]):
    result = check(graph_of(lambda x: bilinear(x, size)), reader)
    assert ops(result) == ["MirrorPad", "ResizeBilinear", "StridedSlice"]


@pytest.mark.parametrize("factors", [(2, 2), (3, 4)])
def test_growing_by_whole_factors_where_height_and_width_are_free(factors: tuple[int, int]):
    graph_def = graph_of(lambda x: bilinear(x, tf.shape(x)[1:3] * np.array(factors, np.int32)), (None, None, None, 4))
    assert "MirrorPad" in ops(check(graph_def, "1.9"))


@pytest.mark.parametrize("size", [(9, 9), (3, 4), (7, 12), (1, 1), (2, 6)])
@pytest.mark.parametrize("op", [RAW.ResizeBilinear, RAW.ResizeNearestNeighbor])
def test_between_known_sizes(op: object, size: tuple[int, int]):
    graph_def = graph_of(lambda x: op(images=x, size=size, half_pixel_centers=True, name="out"))
    assert "GatherV2" in ops(check(graph_def, "1.9"))


@pytest.mark.parametrize("reader", ["1.9", "1.12", "1.15"])
@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_a_convolution_in_groups(reader: str, groups: int, padding: str):
    """Held against convolutions of the parts: no CPU of TensorFlow runs the node outside a compiled function."""
    weights = kernel(3, 3, 4 // groups, 8)
    result = written(graph_of(lambda x: tf.nn.conv2d(x, weights, [2, 2], padding, name="out")), reader)
    expected = {2: ["ConcatV2", "Conv2D", "Conv2D", "Split"], 4: ["DepthwiseConv2dNative"]}
    assert ops(result) == expected[groups]
    parts = zip(np.split(X, groups, 3), np.split(weights, groups, 3), strict=True)
    wanted = np.concatenate([tf.nn.conv2d(x, k, [2, 2], padding) for x, k in parts], 3)
    with GraphRunner(copy(result), ["out"]) as runner:
        assert np.abs(runner.run({"x": X})[0] - wanted).max() < 1e-5


@pytest.mark.parametrize(
    ("equation", "shape"),
    [
        ("bhwc,cd->bhwd", (4, 5)),
        ("bhwc,cde->bhwde", (4, 2, 3)),
        ("bhwc,wcd->bhd", (6, 4, 5)),
        ("bhwc,hcd->bhwd", (6, 4, 5)),
        ("bhwc,cd->dbhw", (4, 5)),
    ],
)
@pytest.mark.parametrize("reader", ["1.9", "1.15"])
def test_einsum(reader: str, equation: str, shape: tuple[int, ...]):
    weights = kernel(*shape)
    graph_def = graph_of(lambda x: RAW.Einsum(inputs=[x, weights], equation=equation, name="out"))
    assert "Einsum" not in ops(check(graph_def, reader))


def test_einsum_of_two_tensors_of_the_batch():
    graph_def = graph_of(lambda x: RAW.Einsum(inputs=[x, x], equation="bhwc,bhvc->bhwv", name="out"))
    assert "BatchMatMul" in ops(check(graph_def, "1.9"))


def test_einsum_that_sums_one_tensor_has_no_older_form():
    weights = kernel(4, 5)
    graph_def = graph_of(lambda x: RAW.Einsum(inputs=[x, weights], equation="bhwc,cd->bhd", name="out"))
    assert "out (Einsum)" in str(refused(graph_def, "1.9"))


def test_select_of_equal_shapes():
    graph_def = graph_of(lambda x: tf.where(x > 0.0, x, x * 2.0, name="out"))
    assert ops(check(graph_def, "1.9")) == ["Greater", "Mul", "Select"]


def test_select_that_broadcasts_takes_infinities_and_nan_as_they_are():
    x = X.copy()
    x[0, 0, 0, :2], x[1, 1, 1, 0] = np.inf, -np.inf
    graph_def = graph_of(lambda x: tf.where(x[:, :, :, :1] > 0.0, x, 0.5, name="out"))
    result = written(graph_def, "1.9")
    assert "SelectV2" not in ops(result)
    with GraphRunner(copy(graph_def), ["out"]) as old, GraphRunner(copy(result), ["out"]) as new:
        np.testing.assert_array_equal(new.run({"x": x})[0], old.run({"x": x})[0])


def test_a_size_that_is_left_to_split_is_written():
    graph_def = graph_of(lambda x: tf.add(*tf.split(x, [2, -1], 3), name="out"))
    assert ops(check(graph_def, "1.9"))[-1] == "SplitV"
    values = [
        tf.make_ndarray(n.attr["value"].tensor).tolist() for n in written(graph_def, "1.9").node if n.op == "Const"
    ]
    assert [2, 2] in values
    assert [2, -1] not in values


def test_a_pool_with_explicit_paddings():
    sides = [[0, 0], [1, 0], [0, 2], [0, 0]]
    graph_def = graph_of(lambda x: tf.nn.max_pool2d(x, 3, 2, sides, name="out"))
    assert ops(check(graph_def, "1.9", X - 10.0)) == ["MaxPool", "PadV2"]


@pytest.mark.parametrize(("family", "op"), [("vitis_ai", "AddV2"), ("dnndk", "Add")])
def test_sums_have_the_op_that_the_family_takes_for_one(family: str, op: str):
    graph_def = graph_of(lambda x: RAW.Add(x=RAW.AddV2(x=x, y=x), y=x, name="out"))
    result = quantizer_forms(graph_def, family, "1.12", frozenset(["x", "out"]))
    assert ops(result) == [op, op]
    assert ops(graph_def) == ["Add", "AddV2"]


def test_one_number_a_channel_is_a_vector():
    row = np.arange(1.0, 1.0 + X.shape[-1], dtype=np.float32)
    graph_def = graph_of(lambda x: tf.add(x * row.reshape(1, 1, 1, -1), row.reshape(1, -1), name="out"))
    result = quantizer_forms(graph_def, "vitis_ai", "1.15", frozenset(["x", "out"]))
    assert [list(tf.make_ndarray(n.attr["value"].tensor).shape) for n in result.node if n.op == "Const"] == 2 * [
        [len(row)]
    ]
    # What would widen the other side stays.
    wider = graph_of(lambda x: tf.multiply(tf.reduce_mean(x, [1, 2]), row.reshape(1, 1, 1, -1), name="out"))
    assert len(quantizer_forms(wider, "vitis_ai", "1.15", frozenset(["x", "out"])).node) == len(wider.node)


def test_a_leaky_relu_in_its_old_form_is_one_again_where_the_reader_has_it():
    graph_def = written(graph_of(lambda x: tf.nn.leaky_relu(x, 0.1, name="out")), "1.9")
    keep = frozenset(["x", "out"])
    assert ops(quantizer_forms(graph_def, "dnndk", "1.12", keep)) == ["Maximum", "Mul"]
    result = quantizer_forms(graph_def, "vitis_ai", "1.15", keep)
    assert ops(result) == ["LeakyRelu"]
    assert {node.name for node in result.node} == {"x", "out"}
    assert out(result).attr["alpha"].f == np.float32(0.1)


def test_a_maximum_that_is_no_leaky_relu_stays():
    steep = graph_of(lambda x: tf.maximum(2.0 * x, x, name="out"))
    others = graph_of(lambda x: tf.maximum(0.1 * x, tf.abs(x), name="out"))
    for graph_def in (steep, others):
        assert "Maximum" in ops(quantizer_forms(graph_def, "vitis_ai", "1.15", frozenset(["x", "out"])))


@pytest.mark.parametrize("reader", ["1.15", "1.16", "2.8", "2.12"])
def test_later_readers_get_the_graph_of_the_newest_registry_before_them(reader: str):
    graph_def = graph_of(lambda x: tf.nn.leaky_relu(x, 0.2, name="out"))
    result = written(graph_def, reader)
    assert result == written(graph_def, "1.15")
    assert out(result).op == "LeakyRelu"
