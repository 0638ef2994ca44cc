"""Keras 3 activations that Keras 2 lacks or computes differently, for Keras 2 models that came from Keras 3."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf


def _hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def _hard_silu(x: tf.Tensor) -> tf.Tensor:
    return x * _hard_sigmoid(x)


def _leaky_relu(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.leaky_relu(x, alpha=0.2)


def _swish(x: tf.Tensor) -> tf.Tensor:
    return x * tf.sigmoid(x)


# What Keras 2 writes where a layer was given tf.nn.softmax or tf.nn.log_softmax itself.
TENSORFLOW_ACTIVATIONS: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "softmax_v2": tf.nn.softmax,
    "log_softmax_v2": tf.nn.log_softmax,
}
# Keras 2 wraps swish for its gradient; what is left of that in a graph is an IdentityN that no DPU tool knows.
PLAIN_ACTIVATIONS: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "swish": _swish,
    "silu": _swish,
    **TENSORFLOW_ACTIVATIONS,
}

# The names that keras2.ACTIVATIONS gives them.
KERAS3_ACTIVATIONS: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "keras3_relu6": tf.nn.relu6,
    "keras3_hard_sigmoid": _hard_sigmoid,
    "keras3_hard_silu": _hard_silu,
    "keras3_leaky_relu": _leaky_relu,
    "keras3_log_softmax": tf.nn.log_softmax,
}
