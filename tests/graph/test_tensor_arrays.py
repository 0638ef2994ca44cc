"""The lists of TensorFlow 2's loops as arrays of TensorFlow 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from graphs import V1, Made, ops

from dnndk_prep.graph.readers import for_reader
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.rewrites.inline_functions import inline_functions
from dnndk_prep.graph.rewrites.tensor_arrays import tensor_arrays

FEEDS = {"x": (5, 3, 4)}


def rewrite(graph_def, keep):
    return Rewritten(tensor_arrays(inline_functions(graph_def, sorted(keep)), keep))


def mapped(x: tf.Tensor) -> tf.Tensor:
    """A loop in a loop: the inner one runs with lists that the outer one makes, and reads one from outside."""
    return tf.map_fn(lambda row: tf.map_fn(lambda item: item * tf.reduce_sum(row), row), x)


def only_the_last(x: tf.Tensor) -> tf.Tensor:
    """As Keras 2 keeps the last state: each turn writes over the one before."""
    steps = tf.TensorArray(tf.float32, 5, element_shape=[3, 4]).unstack(x)

    def turn(i: tf.Tensor, last: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        return i + 1, last.write(0, tf.tanh(steps.read(i)))

    kept = tf.TensorArray(tf.float32, 1, element_shape=[3, 4])
    return tf.while_loop(lambda i, last: i < 5, turn, (0, kept))[1].stack()


def growing(x: tf.Tensor) -> tf.Tensor:
    grown = tf.TensorArray(tf.float32, 0, dynamic_size=True, element_shape=[3, 4])
    return tf.while_loop(lambda i, a: i < 4, lambda i, a: (i + 1, a.write(i, x[i] + x[0])), (0, grown))[1].stack()


@pytest.mark.parametrize("make", [mapped, only_the_last, growing])
def test_arrays_give_what_the_lists_gave(make: Callable[[tf.Tensor], tf.Tensor]):
    def build(random: np.random.Generator) -> None:
        tf.identity(make(V1.placeholder(tf.float32, [5, 3, 4], name="x")), name="out")

    done = Made(build, **FEEDS).check(rewrite, "out", tolerance=0)
    assert not [name for name in ops(done.graph_def) if name.startswith("TensorList")]
    assert for_reader(done.graph_def, "1.9", frozenset(["x", "out"])).node


def test_lists_of_another_use_stay():
    def build(random: np.random.Generator) -> None:
        x = V1.placeholder(tf.float32, [5, 3, 4], name="x")
        lists = tf.raw_ops.TensorListFromTensor(tensor=x, element_shape=[3, 4])
        lists = tf.raw_ops.TensorListPushBack(input_handle=lists, tensor=x[0])
        tf.raw_ops.TensorListStack(input_handle=lists, element_shape=[3, 4], element_dtype=tf.float32, name="out")

    graph_def = Made(build).graph_def
    assert "TensorListPushBack" in ops(tensor_arrays(graph_def, frozenset(["x", "out"])))
