"""The rules by which a graph is written for an older TensorFlow; the real ones run graphs in tests/readers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from levels import RAW, READERS, X, check, graph_of, norm, out, refused

from dnndk_prep.graph.readers import PRODUCERS


def everything(x: tf.Tensor) -> None:
    kernel = np.ones((3, 3, 4, 4), np.float32) / 9
    y = norm(tf.nn.conv2d(x, kernel, 1, [[0, 0], [1, 0], [0, 1], [0, 0]]), name="bn", exponential_avg_factor=0.5)[0]
    y = tf.nn.leaky_relu(RAW.AddV2(x=y, y=y), 0.1)
    tf.nn.softmax(y, name="out")


@pytest.mark.parametrize("reader", READERS)
def test_the_whole_graph_at_a_readers_level(reader: str):
    graph_def = graph_of(everything)
    out(graph_def, "bn").attr["_class"].list.s.append(b"loc:@x")
    result = check(graph_def, reader)
    assert result.versions.producer == PRODUCERS[reader]
    assert not [key for node in result.node for key in node.attr if key.startswith("_")]
    place = {node.name: i for i, node in enumerate(result.node)}
    assert all(place[name] < place[node.name] for node in result.node for name in node.input)


def test_producers_are_those_of_the_releases():
    assert PRODUCERS == {"1.9": 26, "1.12": 27, "1.15": 134}


@pytest.mark.parametrize("reader", ["1.9", "1.12"])
def test_an_attribute_that_says_what_the_reader_does_anyway_goes(reader: str):
    graph_def = graph_of(lambda x: RAW.ResizeBilinear(images=x, size=[9, 9], name="out"))
    assert "half_pixel_centers" in out(graph_def).attr
    assert "half_pixel_centers" not in out(check(graph_def, reader)).attr


@pytest.mark.parametrize("reader", ["1.9", "1.12"])
def test_an_attribute_that_says_something_else_is_refused(reader: str):
    graph_def = graph_of(
        lambda x: RAW.ResizeBilinear(images=x, size=[9, 9], half_pixel_centers=True, name="out"), (None, None, None, 4)
    )
    error = refused(graph_def, reader)
    text = str(error)
    assert f"TensorFlow {reader} cannot read the node out (ResizeBilinear)" in text
    assert "half_pixel_centers = b: true" in text
    assert 'graph.reader: "1.15"' in text
    assert out(check(graph_def, "1.15")).attr["half_pixel_centers"].b


def test_which_gradients_matmul_has_does_not_count_in_inference():
    weights = np.ones((4, 2), np.float32)
    graph_def = graph_of(lambda x: RAW.MatMul(a=x, b=weights, grad_a=True, grad_b=True, name="out"), (None, 4))
    assert set(out(check(graph_def, "1.9", X[0, 0])).attr) == {"T", "transpose_a", "transpose_b"}


def test_a_type_that_only_a_later_reader_takes():
    def make(x: tf.Tensor) -> None:
        tf.cast(tf.matmul(tf.cast(x, tf.int64), np.ones((4, 2), np.int64), name="long"), tf.float32, name="out")

    graph_def = graph_of(make, (None, 4))
    text = str(refused(graph_def, "1.12"))
    assert "long (MatMul)" in text
    assert "T = int64" in text
    assert 'graph.reader: "1.15"' in text
    check(graph_def, "1.15", X[0, 0])


def test_an_op_that_no_reader_has():
    graph_def = graph_of(lambda x: RAW.DenseBincount(input=[1, 2], size=4, weights=x[0, 0, 0, :2], name="out"))
    for reader in READERS:
        text = str(refused(graph_def, reader))
        assert "DenseBincount" in text
        assert "no TensorFlow 1 release" in text


@pytest.mark.parametrize("reader", READERS)
def test_bfloat16_has_no_kernels_there(reader: str):
    graph_def = graph_of(lambda x: tf.cast(tf.nn.relu(tf.cast(x, tf.bfloat16)), tf.float32, name="out"))
    assert "the type bfloat16" in str(refused(graph_def, reader))


def test_an_input_that_only_a_later_reader_knows():
    def make(x: tf.Tensor) -> None:
        made = RAW.TensorListFromTensor(tensor=x, element_shape=tf.constant([-1, 4]))
        RAW.TensorListStack(input_handle=made, element_shape=tf.constant([-1, 4]), element_dtype=tf.float32, name="out")

    graph_def = graph_of(make, (None, None, 4))
    for reader in ("1.9", "1.12"):
        text = str(refused(graph_def, reader))
        assert "the input element_shape" in text
        assert 'graph.reader: "1.15"' in text
    check(graph_def, "1.15", X[0])


@pytest.mark.parametrize("reader", READERS)
def test_what_follows_from_constants_needs_no_form(reader: str):
    def make(x: tf.Tensor) -> None:
        eye = RAW.MatrixDiagV3(diagonal=tf.ones(4), k=0, num_rows=4, num_cols=4, padding_value=0.0)
        tf.matmul(x, eye, name="out")

    assert "MatrixDiagV3" not in {node.op for node in check(graph_of(make, (None, 4)), reader, X[0, 0]).node}


def test_the_lowest_reader_that_has_an_op_is_named():
    graph_def = graph_of(lambda x: RAW.Einsum(inputs=[x], equation="bhwc->bh", name="out"))
    for reader in ("1.9", "1.12"):
        assert 'graph.reader: "1.15"' in str(refused(graph_def, reader))
    check(graph_def, "1.15")


@pytest.mark.parametrize("reader", READERS)
def test_library_functions_are_refused_whatever_the_reader(reader: str):
    @tf.function
    def twice(x: tf.Tensor) -> tf.Tensor:
        return x * 2.0

    text = str(refused(graph_of(lambda x: tf.nn.relu(twice(x), name="out")), reader))
    assert "calls the library function __inference_twice" in text
    # No reader takes them: another one is no remedy.
    assert "graph.reader" not in text


def test_functions_in_a_list_are_refused():
    @tf.function
    def twice(x: tf.Tensor) -> tf.Tensor:
        return x * 2.0

    branch = twice.get_concrete_function(tf.TensorSpec([None, 4]))
    graph_def = graph_of(lambda x: RAW.Relu(features=x, name="out"), (None, 4))
    case = graph_def.node.add(name="case", op="Case", input=["out"])
    case.attr["branches"].list.func.add(name=branch.name)
    assert "the node case calls the library function" in str(refused(graph_def, "1.15"))


def test_a_graph_without_its_defaults_is_left_so():
    """The shapes that the form of Softmax asks for make TensorFlow write defaults into what it reads."""

    def make(x: tf.Tensor) -> None:
        tf.nn.softmax(tf.nn.conv2d(x, np.ones((1, 1, 4, 2), np.float32), 1, "SAME", name="conv"), name="out")

    graph_def = graph_of(make)
    for name in ("explicit_paddings", "dilations", "data_format", "use_cudnn_on_gpu"):
        del out(graph_def, "conv").attr[name]
    check(graph_def, "1.9")
