"""The fixes for what quantizers do unsaid: what each changes and leaves alone, and the same numbers."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import tensorflow as tf
from graphs import V1, Made, image, node, normal, ops, statistics

from dnndk_prep.config import FixName
from dnndk_prep.graph.fix import CUT_RESCALING, FIXES, fixed
from dnndk_prep.graph.fixes.cut_rescaling import begins, fed_behind
from dnndk_prep.graph.fixes.leaky_26_256 import SLOPE
from dnndk_prep.graph.rewrites import Rewritten

X = (2, 6, 6, 3)


def conv(random, x, channels: int = 4, name: str = "conv"):
    kernel = normal(random, 3, 3, x.shape[-1], channels)
    return V1.nn.conv2d(x, kernel, [1] * 4, "SAME", name=name)


def biased(random, x, name: str = "conv"):
    return V1.nn.bias_add(conv(random, x, name=name), normal(random, 4), name=f"{name}/BiasAdd")


def norm(random, x):
    gamma, beta, mean, variance = statistics(random, 4)
    return V1.nn.fused_batch_norm(x, gamma, beta, mean, variance, is_training=False, name="norm")[0]


def mended(make, name: str, *, same: bool = True, outputs=("out",)):
    """The graph with the fix, and the nodes that it names; its numbers are those of the graph that came in."""
    made, nodes = Made(make, x=X), []

    def rewrite(graph_def, keep):
        done = fixed(graph_def, name, keep)
        nodes[:] = done.nodes
        return Rewritten(done.graph_def)

    result = made.check(rewrite, *outputs, tolerance=1e-5 if same else 10.0).graph_def
    return result, list(nodes)


def test_the_configuration_knows_all_of_them():
    assert set(get_args(FixName)) == {*FIXES, CUT_RESCALING}


def add(a, b, name=None):
    return tf.raw_ops.Add(x=a, y=b, name=name)


def pre_activation(is_biased: bool):
    def make(random):
        start = image()
        x = add(biased(random, start, "a"), biased(random, start, "b"), "first")
        y = (biased if is_biased else conv)(random, tf.nn.relu(x), name="conv")
        tf.nn.relu(add(y, x, "second"), name="out")

    return make


def test_a_layer_before_a_second_sum_gets_a_bias_of_zeros():
    result, nodes = mended(pre_activation(False), "zero_bias")
    assert nodes == ["conv"]
    bias = node(result, node(result, "second").input[0])
    assert (bias.op, bias.input[0]) == ("BiasAdd", "conv")
    assert not tf.make_ndarray(node(result, bias.input[1]).attr["value"].tensor).any()


def test_a_layer_with_a_bias_gets_no_other():
    assert mended(pre_activation(True), "zero_bias")[1] == []


@pytest.mark.parametrize(("ceiling", "mends"), [(1.0, True), (0.0, True), (6.0, False), (-1.0, False)])
def test_another_ceiling_than_6_is_a_clip(ceiling, mends):
    def make(random):
        tf.minimum(ceiling, tf.nn.relu(conv(random, image()), name="relu"), name="out")

    result, nodes = mended(make, "clip")
    assert nodes == (["out"] if mends else [])
    assert node(result, "out").op == ("Maximum" if mends else "Minimum")
    assert ops(result)["Relu"] == (0 if mends else 1)


def test_what_keras_writes_loses_its_relu_alone():
    def make(random):
        x = tf.minimum(tf.nn.relu(conv(random, image()), name="relu"), 1.0, name="low")
        tf.maximum(x, 0.0, name="out")

    result, nodes = mended(make, "clip")
    assert nodes == ["low"]
    assert ops(result) == {"Conv2D": 1, "Minimum": 1, "Maximum": 1}


def test_a_relu_that_others_read_stays():
    def make(random):
        relu = tf.nn.relu(conv(random, image()))
        tf.add(tf.minimum(relu, 1.0), relu, name="out")

    assert mended(make, "clip")[1] == []


@pytest.mark.parametrize("keepdims", [True, False])
def test_a_pool_is_no_output(keepdims):
    def make(random):
        pool = tf.reduce_mean(conv(random, image()), [1, 2], keepdims=keepdims, name="out")
        tf.nn.relu(pool, name="other")

    result, nodes = mended(make, "later_output", outputs=("out", "other"))
    assert nodes == ["out"]
    assert node(result, "out").op == "Reshape"
    assert node(result, "other").input[0] == node(result, "out").input[0] == "out/pool"


def test_an_output_that_is_no_pool_stays():
    make = lambda random: tf.reduce_mean(conv(random, image()), [3], name="out")  # noqa: E731
    assert mended(make, "later_output")[1] == []


def test_a_relu_behind_concatenation_and_pool_goes_to_the_layers():
    def make(random):
        x = image()
        inner = tf.concat([biased(random, x, "a"), tf.nn.relu(biased(random, x, "b"), name="b/Relu")], 3, name="inner")
        pool = tf.nn.max_pool2d(inner, 2, 2, "VALID", name="pool")
        tf.reduce_max(tf.nn.relu(tf.reshape(pool, [-1, 72]), name="late"), [1], name="out")

    result, nodes = mended(make, "early_relu")
    assert nodes[0] == "late"
    assert ops(result)["Relu"] == 2
    concat = node(result, "inner")
    assert [node(result, name).op for name in concat.input[:2]] == ["Relu", "Relu"]
    assert node(result, node(result, concat.input[0]).input[0]).name == "a/BiasAdd"
    assert node(result, node(result, "out").input[0]).op == "Reshape"


def test_an_output_keeps_its_name_when_the_relu_goes():
    def make(random):
        tf.nn.relu6(tf.nn.max_pool2d(biased(random, image()), 2, 2, "VALID", name="pool"), name="out")

    result, nodes = mended(make, "early_relu")
    assert nodes == ["out"]
    assert (node(result, "out").op, ops(result)["Relu6"]) == ("MaxPool", 1)


@pytest.mark.parametrize("reader", ["input", "another", "average"])
def test_a_relu_stays_where_a_layer_cannot_take_it(reader):
    def make(random):
        x = image() if reader == "input" else biased(random, image())
        pool = tf.nn.avg_pool2d if reader == "average" else tf.nn.max_pool2d
        y = tf.nn.relu(pool(x, 3, 1, "SAME"))
        tf.add(tf.reduce_sum(y), tf.reduce_sum(x) if reader == "another" else 1.0, name="out")

    assert mended(make, "early_relu")[1] == []


def leaky(random, form: str, slope: float):
    x = biased(random, image())
    if form == "op":
        return tf.nn.leaky_relu(x, slope, name="out")
    if form == "maximum":
        return tf.maximum(x * slope, x, name="out")
    negative = slope * tf.nn.relu(-x) if form == "subtract" else tf.nn.relu(-x) * -slope
    return (tf.subtract if form == "subtract" else tf.add)(tf.nn.relu(x), negative, name="out")


@pytest.mark.parametrize("form", ["op", "maximum", "subtract", "add"])
def test_slopes_become_26_256(form):
    made = Made(lambda random: leaky(random, form, 0.3), x=X)
    done = fixed(made.graph_def, "leaky_26_256", frozenset(["x", "out"]))
    wanted = Made(lambda random: leaky(random, form, SLOPE), x=X)
    assert done.nodes == ("out",)
    assert not FIXES["leaky_26_256"].exact
    (got,), (expected,) = made.run(done.graph_def, ["out"]), wanted.run(wanted.graph_def, ["out"])
    assert np.array_equal(got, expected)
    assert fixed(done.graph_def, "leaky_26_256", frozenset(["x", "out"])).nodes == ()


def test_a_batch_norm_behind_a_sum_of_layers_folds_into_both():
    def make(random):
        x = image()
        tf.nn.relu(norm(random, tf.add(biased(random, x, "a"), conv(random, x, name="b"))), name="out")

    result, nodes = mended(make, "norm_before_add")
    assert nodes == ["norm"]
    assert ops(result) == {"Conv2D": 2, "BiasAdd": 2, "AddV2": 1, "Relu": 1}


def test_a_batch_norm_behind_a_sum_that_no_layer_can_take_stays():
    def make(random):
        a = biased(random, image(), "a")
        tf.add(norm(random, tf.add(a, conv(random, a, name="b"))), a, name="out")

    assert mended(make, "norm_before_add")[1] == []


@pytest.mark.parametrize("is_fused", [True, False])
@pytest.mark.parametrize("keepdims", [True, False])
def test_the_mean_of_a_batch_norm_is_taken_first(is_fused, keepdims):
    def make(random):
        relu = tf.nn.relu(conv(random, image()))
        x = norm(random, relu) if is_fused else normal(random, 4) * relu - normal(random, 4)
        tf.reduce_mean(x, [1, 2], keepdims=keepdims, name="out")

    result, nodes = mended(make, "norm_behind_mean")
    assert nodes == ["out"]
    mean = next(one for one in result.node if one.op == "Mean")
    assert node(result, mean.input[0]).op == "Relu"


def test_quantization_begins_behind_the_rescaling():
    def make(random):
        x = image() * np.float32(1 / 127.5) - np.float32(1)
        tf.nn.relu(conv(random, x), name="out")

    made = Made(make, x=X)
    begin = begins(made.graph_def, ["x"], frozenset(["x", "out"]))
    (last,) = begin.values()
    assert node(made.graph_def, last).op == "Sub"
    scaled, wanted = made.run(made.graph_def, [last, "out"])
    made.feeds = {last: scaled}
    assert np.array_equal(made.run(fed_behind(made.graph_def, begin), ["out"])[0], wanted)


def test_a_rescaled_input_that_others_read_is_none():
    def make(random):
        x = image()
        tf.add(conv(random, x / 255.0, 3), x, name="out")

    assert begins(Made(make, x=X).graph_def, ["x"], frozenset(["x", "out"])) == {}
