"""How Keras 3 runs while it is traced: names that do not depend on the process, and loops as TensorFlow 1 has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from dnndk_prep.keras_io import build_keras2

LOOPS = ("While", "StatelessWhile")


def has_loops(graph: Any) -> bool:
    """Whether a traced graph has loops, at any depth: those of TensorFlow 2 hold lists that TensorFlow 1 lacks."""
    graph_def = graph.as_graph_def()
    functions = [node for function in graph_def.library.function for node in function.node_def]
    return any(node.op in LOOPS for node in [*graph_def.node, *functions])


def in_tensorflow1(call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, to be traced in a function as TensorFlow 1 had them.

    The mark of these is an attribute (tensorflow/python/ops/control_flow_util.py, EnableControlFlowV2).
    """

    def marked(*tensors: tf.Tensor) -> Any:
        tf.compat.v1.get_default_graph()._captured = {}
        return call(*tensors)

    return marked


@contextmanager
def loops_of_tensorflow1() -> Iterator[None]:
    """Loops become Enter, Switch, Merge and Exit, and arrays in them TensorArrays.

    TensorFlow 1 compares tensors by identity where it builds a loop. Recurrent layers keep what every step gives: they
    would write each step over the one before, which TensorFlow 1's TensorArray refuses.
    """
    from keras.src import backend

    original = backend.rnn
    by_value = tf.Tensor._USE_EQUALITY

    def rnn(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **{**kwargs, "return_all_outputs": True})

    backend.rnn = rnn
    tf.compat.v1.disable_tensor_equality()
    try:
        with build_keras2.loops_of_tensorflow1():
            yield
    finally:
        backend.rnn = original
        if by_value:
            tf.compat.v1.enable_tensor_equality()


@contextmanager
def operations_named() -> Iterator[None]:
    """Operations between layers open a scope of their name, numbered as Keras 3 numbers those of layers."""
    from keras.src.layers.layer import Layer
    from keras.src.ops.operation import Operation

    original = Operation.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, Layer):
            return original(self, *args, **kwargs)
        with tf.name_scope(f"{self.name}_1"):
            return original(self, *args, **kwargs)

    Operation.__call__ = call
    try:
        yield
    finally:
        Operation.__call__ = original


@contextmanager
def names_from_the_start() -> Iterator[None]:
    """Keras counts the names that layers get by themselves; they must not depend on what the process made before."""
    from keras.src.backend.common import global_state

    key = "object_name_uids"
    before = global_state.get_global_attribute(key)
    global_state.set_global_attribute(key, None)
    try:
        yield
    finally:
        global_state.set_global_attribute(key, before)
