"""Control inputs: those that decide nothing go, those that tie a node to a branch or a loop stay."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tensorflow as tf
from graphs import Made, image, node, ops

from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.rewrites.orders import without_orders
from dnndk_prep.keras_io.build_keras2 import loops_of_tensorflow1

FEEDS = {"x": (2, 6, 6, 3)}


def rewrite(graph_def, keep):
    return Rewritten(without_orders(graph_def, keep))


def waiting(graph_def) -> list[str]:
    return [node.name for node in graph_def.node if any(name.startswith("^") for name in node.input)]


def branch(x: tf.Tensor) -> tf.Tensor:
    return tf.cond(tf.reduce_sum(x) > 0.0, lambda: x * 2.0, lambda: tf.constant([1.0, 2.0, 3.0]) + 0.0 * x)


def nested(x: tf.Tensor) -> tf.Tensor:
    return tf.cond(tf.reduce_max(x) > -9.0, lambda: branch(x), lambda: -branch(x))


def loop(x: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, branch(y) + 0.5), (0, x))[1]


@pytest.mark.parametrize("make", [branch, nested, loop])
def test_what_ties_a_node_to_its_place_stays(make: Callable[[tf.Tensor], tf.Tensor]):
    def build(random):
        x = image()
        with tf.control_dependencies([tf.no_op(name="before"), tf.abs(x)]):
            y = tf.identity(tf.constant([0.5, 1.0, 2.0]), name="weights") * x
        with loops_of_tensorflow1():
            z = make(y)
        with tf.control_dependencies([z]):
            tf.multiply(tf.identity(y, name="late"), z, name="out")

    done = Made(build, **FEEDS).check(rewrite, "out", tolerance=0)
    left = waiting(done.graph_def)
    assert left
    assert not {"weights", "late", "out"} & set(left)
    assert ops(done.graph_def)["NoOp"] == 0


def test_an_order_of_writing_stays():
    def build(random):
        variable = tf.compat.v1.get_variable("v", [3], use_resource=True)
        with tf.control_dependencies([variable.assign_add([1.0, 1.0, 1.0])]):
            tf.add(image(), variable.read_value(), name="out")

    graph_def = Made(build, **FEEDS).graph_def
    assert without_orders(graph_def, frozenset(["out"])) is graph_def


def test_an_identity_of_a_side_reads_its_switch():
    def build(random):
        with loops_of_tensorflow1():
            tf.identity(branch(image()), name="out")

    done = Made(build, **FEEDS).check(rewrite, "out", tolerance=0)
    assert node(done.graph_def, "cond/mul").input[0].startswith("cond/mul/Switch")
