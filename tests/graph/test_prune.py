"""What no output needs, dropped."""

from __future__ import annotations

import tensorflow as tf
from graphs import V1, Made, image, ops

from dnndk_prep.graph.rewrites.prune import prune

FEEDS = {"x": (2, 6, 6, 3)}


def test_only_what_the_outputs_need_stays_and_every_input():
    def make(random):
        y = tf.nn.relu(image(), name="out")
        V1.placeholder(tf.float32, [None], name="unread")
        V1.placeholder(tf.float32, [None], name="forgotten")
        tf.square(y, name="loss")

    made = Made(make, **FEEDS)
    done = prune(made.graph_def, frozenset(["x", "unread", "out"]))
    assert [node.name for node in done.graph_def.node] == ["x", "out", "unread"]


def test_nodes_stand_after_what_they_read_in_the_order_they_came():
    made = Made(lambda random: tf.nn.relu(tf.abs(image(), name="a"), name="out"), **FEEDS)
    backwards = type(made.graph_def)(versions=made.graph_def.versions, node=list(made.graph_def.node)[::-1])
    done = prune(backwards, frozenset(["x", "out"]))
    assert [node.name for node in done.graph_def.node] == ["x", "a", "out"]


def test_functions_that_nobody_calls_go():
    @tf.function
    def called(x):
        return x * 2.0

    @tf.function
    def forgotten(x):
        return x * 3.0

    def make(random):
        x = image()
        tf.identity(called(x), name="out")
        tf.identity(forgotten(x), name="other")

    made = Made(make, **FEEDS)
    assert len(made.graph_def.library.function) == 2
    done = made.check(prune, "out", tolerance=0)
    (left,) = done.graph_def.library.function
    assert left.signature.name.startswith("__inference_called")
    assert ops(done.graph_def)["Identity"] == 1
