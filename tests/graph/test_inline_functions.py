"""Functions, branches and loops of TensorFlow 2 as plain nodes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tensorflow as tf
from graphs import Made, image, ops

from dnndk_prep.errors import StageError
from dnndk_prep.graph.readers import for_reader
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.rewrites.inline_functions import inline_functions


@tf.function
def inner(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(x) * 2.0


@tf.function
def outer(x: tf.Tensor) -> tf.Tensor:
    return inner(x) + inner(-x)


def branch(x: tf.Tensor) -> tf.Tensor:
    return tf.cond(tf.reduce_sum(x) > 0.0, lambda: inner(x), lambda: tf.nn.tanh(x))


def loop(x: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(lambda i, v: i < 4, lambda i, v: (i + 1, inner(v) - 0.5), [tf.constant(0), x])[1]


@pytest.mark.parametrize("make", [outer, branch, loop])
def test_it_computes_the_same_without_a_library(make: Callable[[tf.Tensor], tf.Tensor]):
    made = Made(lambda random: tf.identity(make(image()), name="out"), x=(2, 6, 6, 3))
    assert made.graph_def.library.function

    def rewrite(graph_def, keep):
        return Rewritten(inline_functions(graph_def, sorted(keep)))

    result = made.check(rewrite, "out").graph_def
    assert not result.library.function
    assert not {"PartitionedCall", "StatefulPartitionedCall", "While", "If", "StatelessWhile"} & set(ops(result))
    # An older reader takes it.
    assert for_reader(result, "1.12", frozenset(["x", "out"])).node


def test_the_marks_of_calls_go():
    made = Made(lambda random: tf.identity(outer(image()), name="out"), x=(2, 6, 6, 3))
    result = inline_functions(made.graph_def, ["x", "out"])
    assert not [node.name for node in result.node if "Func/" in node.name]


def test_a_graph_without_functions_is_the_same_object():
    made = Made(lambda random: tf.nn.relu(image(), name="out"))
    assert inline_functions(made.graph_def, ["out"]) is made.graph_def


def test_a_call_that_cannot_be_written_out_is_named():
    made = Made(lambda random: tf.identity(tf.map_fn(inner, image(), parallel_iterations=1), name="out"))
    graph_def = made.graph_def
    call = graph_def.node.add(name="later", op="RemoteCall", input=["x", "x"])
    call.attr["f"].func.name = graph_def.library.function[0].signature.name
    with pytest.raises(StageError):
        inline_functions(graph_def, ["out", "later"])
