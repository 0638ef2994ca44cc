"""What a graph is fed and what it is computed for, found where nobody says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import StageError
from dnndk_prep.graph.ends import find_constants, find_inputs, find_outputs

V1 = tf.compat.v1


def graph_of(make: Callable[[], object]) -> GraphDef:
    with tf.Graph().as_default() as graph:
        make()
    return graph.as_graph_def()


def ends(make: Callable[[], object]) -> tuple[list[str], list[str]]:
    graph_def = graph_of(make)
    return [one.name for one in find_inputs(graph_def)], [one.name for one in find_outputs(graph_def)]


def image() -> tf.Tensor:
    return V1.placeholder(tf.float32, [None, 8, 8, 3], name="image")


def conv(x: tf.Tensor, name: str = "conv") -> tf.Tensor:
    kernel = V1.get_variable(f"{name}/kernel", [3, 3, x.shape[-1], 4], use_resource=True)
    return tf.nn.conv2d(x, kernel, 1, "SAME", name=f"{name}/Conv2D")


def test_outputs_are_named_by_their_op_and_no_saver_is_one():
    def make():
        tf.identity(tf.nn.relu(conv(image()), name="conv/Relu"), name="result")
        V1.global_variables_initializer()
        V1.train.Saver()

    assert ends(make) == (["image"], ["conv/Relu"])
    assert "depends on image" in find_outputs(graph_of(make))[0].reason


def test_what_a_training_adds_is_neither():
    def make():
        logits = tf.reduce_mean(conv(image()), [1, 2], name="logits")
        labels = V1.placeholder(tf.int64, [None], name="labels")
        loss = V1.losses.sparse_softmax_cross_entropy(labels, logits)
        tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), labels), tf.float32), name="accuracy")
        V1.summary.scalar("loss", loss)
        V1.train.AdamOptimizer().minimize(loss)
        V1.train.Saver()

    assert ends(make) == (["image"], ["logits"])


def test_the_score_under_what_is_made_for_people():
    def make():
        score = tf.nn.softmax(tf.reduce_mean(conv(image()), [1, 2]), name="score")
        tf.argmax(score, 1, name="best")
        tf.nn.top_k(score, 2, name="five")

    assert ends(make) == (["image"], ["score"])


def test_what_updates_averages_and_what_tells_sizes_are_no_outputs():
    def make():
        x = conv(image())
        with V1.variable_scope("norm"):
            mean = V1.get_variable("mean", [4], use_resource=True)
            update = V1.assign_sub(mean, (mean - tf.reduce_mean(x, [0, 1, 2])) * 0.1)
            tf.cond(V1.placeholder_with_default(False, []), lambda: update, lambda: mean.read_value(), name="kept")
        tf.strided_slice(tf.shape(x), [1], [2], name="left_over")
        tf.nn.relu(x, name="out")

    assert ends(make) == (["image"], ["out"])


def test_an_answer_made_for_people_is_told():
    def make():
        tf.argmax(tf.nn.softmax(tf.reduce_mean(conv(image()), [1, 2]), name="score"), 1, name="best")

    (found,) = find_outputs(graph_of(make))
    assert found.name == "score"
    assert found.reason.startswith("best (ArgMax) is made of it for people")


def test_a_further_output_of_an_op_keeps_its_identity():
    def make():
        tf.identity(tf.split(conv(image()), 2, axis=-1)[1], name="right")

    assert ends(make) == (["image"], ["right"])


def test_several_inputs_and_outputs_and_one_without_a_layer():
    def make():
        x, y = image(), V1.placeholder(tf.float32, [None, 8, 8, 4], name="offset")
        both = tf.add(conv(x), y, name="both")
        tf.nn.relu(both, name="first")
        tf.nn.tanh(both, name="second")

    assert ends(make) == (["image", "offset"], ["first", "second"])


def test_a_graph_without_layers_takes_every_placeholder():
    def make():
        tf.add(V1.placeholder(tf.float32, [2], name="a"), V1.placeholder(tf.float32, [2], name="b"), name="sum")

    assert ends(make) == (["a", "b"], ["sum"])


@pytest.mark.parametrize(
    ("name", "dtype", "value"),
    [
        ("is_training", tf.bool, False),
        ("keras_learning_phase", tf.bool, False),
        ("net/is_inference", tf.bool, True),
        ("evaluate", tf.bool, False),
        ("keep_prob", tf.float32, 1.0),
        ("dropout_rate", tf.float32, 0.0),
    ],
)
def test_flags_have_their_value_in_inference(name: str, dtype: tf.DType, value: bool | float):
    graph_def = graph_of(lambda: (conv(image()), V1.placeholder(dtype, [], name=name)))
    (found,) = find_constants(graph_def).values()
    assert found[0].item() == value
    assert [one.name for one in find_inputs(graph_def)] == ["image"]
    assert find_constants(graph_def, but=[name]) == {}


def test_a_scalar_that_is_no_flag_is_fed():
    graph_def = graph_of(lambda: tf.multiply(V1.placeholder(tf.float32, [], name="threshold"), 2.0))
    assert find_constants(graph_def) == {}
    assert [one.name for one in find_inputs(graph_def)] == ["threshold"]


def test_a_graph_of_constants_has_no_output():
    with pytest.raises(StageError, match="no output was found"):
        find_outputs(graph_of(lambda: tf.constant(1.0) + 2.0))
