"""What depends on constants alone, computed."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from graphs import V1, Made, image, node, normal, ops

from dnndk_prep.graph.rewrites.fold_constants import MAX_GROWTH, fold_constants

FEEDS = {"x": (2, 6, 6, 3)}


def test_a_computed_kernel():
    def make(random):
        kernel = tf.transpose(tf.constant(normal(random, 3, 4)) * 2.0, name="kernel")
        tf.matmul(tf.reshape(image(), [-1, 4]), kernel + 1.0, name="out")

    done = Made(make, **FEEDS).check(fold_constants, "out")
    assert ops(done.graph_def) == {"Reshape": 1, "MatMul": 1}


def test_the_bias_of_keras_3():
    def make(random):
        bias = tf.squeeze(tf.reshape(tf.constant(normal(random, 3)), [1, 1, 1, 3]))
        tf.nn.bias_add(image(), bias, name="out")

    done = Made(make, **FEEDS).check(fold_constants, "out", tolerance=0)
    assert ops(done.graph_def) == {"BiasAdd": 1}


def test_further_outputs_of_a_node():
    def make(random):
        a, b, _ = tf.split(tf.constant(normal(random, 9)), 3, name="parts")
        tf.add(image() * a, b, name="out")

    done = Made(make, **FEEDS).check(fold_constants, "out", tolerance=0)
    assert ops(done.graph_def) == {"Mul": 1, "AddV2": 1}


def test_an_output_that_is_constant_keeps_its_name():
    def make(random):
        image()
        tf.multiply(tf.constant(2.0), 3.0, name="out")

    made = Made(make, **FEEDS)
    done = made.check(fold_constants, "out", tolerance=0)
    assert node(done.graph_def, "out").op == "Const"


def test_random_numbers_are_drawn_at_each_run():
    def make(random):
        image()
        tf.random.uniform([4], name="noise") + tf.constant(1.0)

    made = Made(make, **FEEDS)
    output = made.graph_def.node[-1].name
    done = fold_constants(made.graph_def, frozenset(["x", output]))
    first, second = (made.run(done.graph_def, [output])[0] for _ in range(2))
    assert not np.array_equal(first, second)


def test_what_a_default_would_give_is_not_computed():
    """Whoever runs the graph may feed it."""

    def make(random):
        image()
        tf.multiply(V1.placeholder_with_default(2.0, [], name="rate"), 3.0, name="out")

    done = fold_constants(Made(make, **FEEDS).graph_def, frozenset(["x", "out"]))
    assert ops(done.graph_def) == {"PlaceholderWithDefault": 1, "Mul": 1}


def test_what_would_make_the_graph_large_is_left():
    def make(random):
        tf.add(image()[0, 0, 0, 0], tf.fill([MAX_GROWTH], 1.0), name="out")

    done = Made(make, **FEEDS).check(fold_constants, "out", tolerance=0)
    assert ops(done.graph_def)["Fill"] == 1


def test_a_loop_over_constants_is_left():
    def make(random):
        V1.disable_control_flow_v2()
        total = V1.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2.0), [tf.constant(0), tf.constant(1.0)])[1]
        V1.enable_control_flow_v2()
        tf.add(image(), total, name="out")

    done = Made(make, **FEEDS).check(fold_constants, "out", tolerance=0)
    assert ops(done.graph_def)["NextIteration"] == 2
