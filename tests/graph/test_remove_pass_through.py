"""Identities and other nodes that hand their input on."""

from __future__ import annotations

import pytest
import tensorflow as tf
import tf_keras
from graphs import V1, Made, image, node, ops

from dnndk_prep.graph.rewrites.remove_pass_through import remove_pass_through

RAW = tf.raw_ops
FEEDS = {"x": (2, 6, 6, 3)}


@pytest.mark.parametrize(
    "passed",
    [
        tf.identity,
        tf.stop_gradient,
        lambda y: tf.debugging.check_numerics(y, "not a number"),
        lambda y: V1.placeholder_with_default(y, [None, 6, 6, 3]),
        lambda y: RAW.Snapshot(input=y),
        lambda y: tf.identity(tf.stop_gradient(tf.identity(y))),
        lambda y: tf_keras.layers.Dropout(0.5)(y, training=False),
    ],
)
def test_what_hands_its_input_on_is_removed(passed):
    made = Made(lambda random: tf.nn.relu(passed(tf.abs(image(), name="a")), name="out"), **FEEDS)
    done = made.check(remove_pass_through, "out")
    assert ops(done.graph_def) == {"Abs": 1, "Relu": 1}
    assert node(done.graph_def, "out").input == ["a"]


def test_the_outputs_of_identity_n_are_its_inputs():
    def make(random):
        a, b = RAW.IdentityN(input=[tf.abs(image(), name="a"), tf.square(image_again(), name="b")])
        tf.subtract(a, b, name="out")

    done = Made(make, **FEEDS).check(remove_pass_through, "out")
    assert list(node(done.graph_def, "out").input) == ["a", "b"]


def image_again() -> tf.Tensor:
    return V1.get_default_graph().get_tensor_by_name("x:0")


def test_swish_is_sigmoid_and_mul():
    done = Made(lambda random: tf.nn.silu(image() + 1.0), **FEEDS)
    output = done.graph_def.node[-1].name
    assert ops(done.check(remove_pass_through, output).graph_def)["IdentityN"] == 0


def test_a_second_output_is_handed_on_as_such():
    def make(random):
        tf.nn.relu(tf.identity(tf.split(image(), 3, axis=-1, name="split")[1]), name="out")

    done = Made(make, **FEEDS).check(remove_pass_through, "out")
    assert node(done.graph_def, "out").input == ["split:1"]


def test_an_output_gives_its_name_to_what_it_hands_on():
    made = Made(lambda random: tf.identity(tf.identity(tf.abs(image(), name="a")), name="out"), **FEEDS)
    done = made.check(remove_pass_through, "out")
    assert node(done.graph_def, "out").op == "Abs"
    assert ops(done.graph_def) == {"Abs": 1}


def test_other_readers_of_the_renamed_node_follow():
    def make(random):
        y = tf.abs(image(), name="a")
        tf.identity(y, name="out")
        tf.nn.relu(y, name="other")

    done = Made(make, **FEEDS).check(remove_pass_through, "out", "other")
    assert node(done.graph_def, "other").input == ["out"]


def an_input(random):
    return image()


def another_output(random):
    return tf.abs(image(), name="a")


def a_second_output(random):
    return tf.split(image(), 3, axis=-1, name="a")[2]


def a_constant(random):
    image()
    return tf.constant([1.0])


@pytest.mark.parametrize("source", [an_input, another_output, a_second_output, a_constant])
def test_an_output_stays_an_identity_where_no_name_is_free(source):
    made = Made(lambda random: tf.identity(source(random), name="out"), **FEEDS)
    outputs = ["out", "a"] if source is another_output else ["out"]
    done = made.check(remove_pass_through, *outputs)
    assert node(done.graph_def, "out").op == "Identity"


def test_two_outputs_of_one_node():
    def make(random):
        y = tf.abs(image(), name="a")
        tf.identity(y, name="one")
        tf.identity(y, name="two")

    done = Made(make, **FEEDS).check(remove_pass_through, "one", "two")
    assert ops(done.graph_def) == {"Abs": 1, "Identity": 1}


def test_control_inputs_go_and_with_them_the_no_op():
    def make(random):
        x = image()
        with tf.control_dependencies([tf.no_op(name="nothing")]):
            tf.nn.relu(x, name="out")

    done = Made(make, **FEEDS).check(remove_pass_through, "out")
    assert ops(done.graph_def) == {"Relu": 1}
    assert node(done.graph_def, "out").input == ["x"]


def test_a_loop_keeps_its_order():
    def make(random):
        V1.disable_control_flow_v2()
        y = V1.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2.0), [tf.constant(0), image()])[1]
        V1.enable_control_flow_v2()
        tf.identity(tf.identity(y) + 1.0, name="out")

    done = Made(make, **FEEDS).check(remove_pass_through, "out")
    assert any(name.startswith("^") for n in done.graph_def.node for name in n.input)


def test_the_reading_of_a_variable_and_the_file_name_of_its_saver_stay():
    def make(random):
        V1.disable_resource_variables()
        kernel = V1.get_variable("kernel", [3])
        V1.enable_resource_variables()
        tf.add(image(), kernel, name="out")
        V1.train.Saver()

    keep = frozenset(["x", "out", "save/restore_all", "save/control_dependency"])
    done = remove_pass_through(Made(make, **FEEDS).graph_def, keep)
    assert node(done.graph_def, "kernel/read").op == "Identity"
    assert node(done.graph_def, "save/Const").op == "PlaceholderWithDefault"
