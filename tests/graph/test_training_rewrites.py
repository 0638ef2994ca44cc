"""What training leaves in a graph, taken out: dropout, batch norms that normalise by the batch, broken handles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from graphs import V1, Made, image, node, normal, ops
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import StageError
from dnndk_prep.graph.rewrites.inference_batch_norms import average_variables, inference_batch_norms
from dnndk_prep.graph.rewrites.mend_handles import mend_handles
from dnndk_prep.graph.rewrites.prune import prune
from dnndk_prep.graph.rewrites.remove_dropout import remove_dropout
from dnndk_prep.graph.rewrites.set_constants import set_constants
from dnndk_prep.graph.run import imported


def divided(x: tf.Tensor) -> tf.Tensor:
    """Dropout as TensorFlow wrote it up to 1.12."""
    keep = tf.constant(0.6)
    return tf.realdiv(x, keep) * tf.floor(keep + tf.random.uniform(tf.shape(x), 0, 1))


def scaled(x: tf.Tensor) -> tf.Tensor:
    """As from 1.13 on."""
    rate = tf.constant(0.4)
    mask = tf.random.uniform(tf.shape(x)) >= rate
    return (x * (1.0 / (1.0 - rate))) * tf.cast(mask, tf.float32)


def selected(x: tf.Tensor) -> tf.Tensor:
    """As in the newest: what is dropped is chosen."""
    mask = tf.random.uniform(tf.shape(x)) >= 0.4
    return tf.where(mask, x * 1.6666666, tf.zeros_like(x))


def todays(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.dropout(x, 0.4)


@pytest.mark.parametrize("make", [divided, scaled, selected, todays])
def test_dropout_hands_its_input_on(make: Callable[[tf.Tensor], tf.Tensor]):
    made = Made(lambda random: tf.nn.relu(make(tf.nn.tanh(image())), name="out"), x=(2, 6, 6, 3))
    keep = frozenset(["x", "out"])
    done = remove_dropout(made.graph_def, keep)
    result = prune(done.graph_def, keep).graph_def
    assert ops(result) == {"Tanh": 1, "Relu": 1, "Identity": 1}
    assert "was dropout" in done.notes[0]
    wanted = np.maximum(np.tanh(made.feeds["x"]), 0)
    np.testing.assert_allclose(made.run(result, ["out"])[0], wanted, atol=1e-6)


def test_noise_that_is_no_dropout_stays():
    made = Made(lambda random: tf.add(image(), tf.random.uniform([3]), name="out"))
    assert ops(remove_dropout(made.graph_def, frozenset(["out"])).graph_def)["RandomUniform"] == 1


def batch_norm(use_resource: bool) -> Made:
    def make(random):
        V1.disable_resource_variables()
        with V1.variable_scope("net/bn1", use_resource=use_resource):
            names = ("gamma", "beta", "moving_mean", "moving_variance")
            gamma, beta, _, _ = (V1.get_variable(name, [3]) for name in names)
        y = tf.raw_ops.FusedBatchNormV3(
            x=image(), scale=gamma, offset=beta, mean=[], variance=[], is_training=True, name="net/bn1/FusedBatchNormV3"
        )[0]
        tf.nn.relu(y, name="out")
        V1.enable_resource_variables()

    return Made(make)


@pytest.mark.parametrize("use_resource", [False, True])
def test_a_batch_norm_of_training_takes_its_averages(use_resource: bool):
    graph_def = batch_norm(use_resource).graph_def
    assert average_variables(graph_def) == ["net/bn1/moving_mean", "net/bn1/moving_variance"]
    done = inference_batch_norms(graph_def, frozenset(["out"]))
    norm = node(done.graph_def, "net/bn1/FusedBatchNormV3")
    assert not norm.attr["is_training"].b
    assert "moving_mean" in norm.input[3]
    assert "moving_variance" in norm.input[4]
    assert average_variables(done.graph_def) == []
    imported(done.graph_def)


def test_one_without_averages_is_refused_by_name():
    graph_def = prune(batch_norm(False).graph_def, frozenset(["out"])).graph_def
    with pytest.raises(StageError, match="net/bn1/FusedBatchNormV3 normalises by the batch"):
        inference_batch_norms(graph_def, frozenset(["out"]))


def broken() -> GraphDef:
    """A constant in the place of a variable, whose handle went through a branch."""

    def make(random):
        value = V1.get_variable("gamma", [3], use_resource=True)
        branch = tf.raw_ops.Switch(data=value.handle, pred=tf.constant(True))[1]
        read = tf.raw_ops.ReadVariableOp(resource=branch, dtype=tf.float32)
        tf.multiply(image(), read, name="out")

    graph_def = prune(Made(make).graph_def, frozenset(["out"])).graph_def
    return set_constants(graph_def, {"gamma": np.array([1, 2, 3], np.float32)})


def test_handles_of_constants_are_mended():
    with pytest.raises(ValueError, match="incompatible with expected resource"):
        imported(broken())
    mended = mend_handles(broken(), frozenset()).graph_def
    made = Made(lambda random: image(), x=(2, 6, 6, 3))
    wanted = made.feeds["x"] * np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(made.run(mended, ["out"])[0], wanted)


def test_a_sound_graph_is_the_same_object():
    made = Made(lambda random: tf.nn.relu(image() * normal(random, 3), name="out"))
    for rewrite in (mend_handles, remove_dropout, inference_batch_norms):
        assert rewrite(made.graph_def, frozenset(["out"])).graph_def is made.graph_def


def test_a_layer_normalization_is_no_training():
    """As Keras 2 computes it: each row is a channel of one image."""

    def make(random):
        x = V1.placeholder(tf.float32, [None, 6], name="x")
        rows = tf.reshape(x, [1, -1, 6, 1])
        scale, offset = tf.fill([tf.shape(rows)[1]], 1.0), tf.fill([tf.shape(rows)[1]], 0.0)
        none = tf.constant([], tf.float32)
        y = tf.raw_ops.FusedBatchNormV3(
            x=rows, scale=scale, offset=offset, mean=none, variance=none, epsilon=0.01, data_format="NCHW"
        )[0]
        tf.reshape(y, [-1, 6], name="out")

    done = Made(make, x=(4, 6)).check(inference_batch_norms, "out")
    assert not {"FusedBatchNormV3", "Fill"} & set(ops(done.graph_def))
    assert done.notes == ()
