"""Shapes that are known, as constants."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from graphs import Made, image, ops

from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.graph.rewrite import optimize
from dnndk_prep.graph.rewrites.static_shapes import static_shapes
from dnndk_prep.keras_io.build_keras2 import loops_of_tensorflow1

FEEDS = {"x": (2, 6, 6, 3)}


def target(graph_def, name: str) -> list[int]:
    nodes = {n.name: n for n in graph_def.node}
    return tf.make_ndarray(nodes[nodes[name].input[1]].attr["value"].tensor).tolist()


def test_flatten_with_a_free_batch():
    def make(random):
        x = image()
        tf.reshape(x, tf.stack([tf.shape(x)[0], 108]), name="out")

    done = Made(make, **FEEDS).check(static_shapes, "out", tolerance=0)
    assert ops(done.graph_def) == {"Reshape": 1}
    assert target(done.graph_def, "out") == [-1, 108]


def test_a_shape_in_int64_stays_int64():
    def make(random):
        x = image()
        tf.reshape(x, tf.stack([tf.shape(x, tf.int64)[0], 108]), name="out")

    done = Made(make, **FEEDS).check(static_shapes, "out", tolerance=0)
    assert target(done.graph_def, "out") == [-1, 108]


def test_a_reshape_layer_loses_all_its_nodes_in_the_whole():
    def make(random):
        x = image()
        tf.nn.softmax(tf.reshape(x, tf.stack([tf.shape(x)[0], 1, 1, 108])), name="out")

    made = Made(make, **FEEDS)
    inputs, outputs = TensorSpec("x", (None, 6, 6, 3), "float32"), TensorSpec("out", (None, 1, 1, 108), "float32")
    optimized, _ = optimize(GraphArtifact(made.graph_def, (inputs,), (outputs,), "1.15"), made.feeds)
    assert ops(optimized.graph_def) == {"Reshape": 1, "Softmax": 1}


def test_two_free_sizes_are_left_to_the_run():
    def make(random):
        x = image(size=None)
        shape = tf.shape(x)
        tf.reshape(x, tf.stack([shape[0], shape[1] * shape[2], 3]), name="out")

    done = Made(make, **FEEDS).check(static_shapes, "out", tolerance=0)
    assert ops(done.graph_def)["Shape"] == 1


def test_an_empty_axis_leaves_the_free_size_to_the_run():
    def make(random):
        x = image()[:, :0]
        tf.reshape(x, tf.stack([tf.shape(x)[0], 0]), name="out")

    made = Made(make, **FEEDS)
    done = static_shapes(made.graph_def, frozenset(["x", "out"]))
    assert made.run(done.graph_def, ["out"])[0].shape == (2, 0)


def test_a_known_shape_is_a_constant():
    def make(random):
        x = tf.raw_ops.Shape(input=tf.reshape(image(), [2, 36, 3]), name="shape")
        tf.identity(x, name="out")

    made = Made(make, **FEEDS)
    done = static_shapes(made.graph_def, frozenset(["x", "out"]))
    np.testing.assert_array_equal(made.run(done.graph_def, ["out"])[0], [2, 36, 3])
    assert ops(done.graph_def)["Shape"] == 0


def test_numbers_that_follow_from_known_sizes_are_constants():
    def make(random):
        x = image()
        places = tf.constant([-1, 1])
        tf.gather(x, tf.where(places < 0, places + tf.shape(x)[3], places), axis=3, name="out")

    made = Made(make, **FEEDS)
    inputs, outputs = TensorSpec("x", (None, 6, 6, 3), "float32"), TensorSpec("out", (None, 6, 6, 2), "float32")
    optimized, _ = optimize(GraphArtifact(made.graph_def, (inputs,), (outputs,), "1.15"), made.feeds)
    assert ops(optimized.graph_def) == {"GatherV2": 1}


def test_what_is_known_in_a_loop_stays_in_it():
    def make(random):
        x = image()

        def body(i, y):
            return i + 1, y + tf.cast(tf.shape(x)[3], tf.float32)

        with loops_of_tensorflow1():
            tf.identity(tf.while_loop(lambda i, y: i < 2, body, (0, x))[1], name="out")

    done = Made(make, **FEEDS).check(static_shapes, "out", tolerance=0)
    assert "Enter" in ops(done.graph_def)
    assert "StridedSlice" not in ops(done.graph_def)


def test_a_graph_without_shapes_is_left_alone():
    made = Made(lambda random: tf.nn.relu(image(), name="out"), **FEEDS)
    assert static_shapes(made.graph_def, frozenset(["x", "out"])).graph_def is made.graph_def
