"""Batch norms folded into the layer before them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from graphs import V1, Made, image, node, normal, ops, statistics
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.rewrites.fold_batch_norms import fold_batch_norms
from dnndk_prep.graph.rewrites.fold_constants import fold_constants
from dnndk_prep.graph.rewrites.prune import prune

RAW = tf.raw_ops


def conv(x, random, filters=4, name="c/Conv2D", **options):
    kernel = tf.constant(normal(random, 3, 3, int(x.shape[-1]), filters), name=f"{name}/kernel")
    return tf.nn.conv2d(x, kernel, 1, "SAME", name=name, **options)


def depthwise(x, random, multiplier=1):
    kernel = tf.constant(normal(random, 3, 3, int(x.shape[-1]), multiplier), name="d/kernel")
    return tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME", name="d/depthwise")


def transposed(x, random):
    kernel = tf.constant(normal(random, 3, 3, 5, int(x.shape[-1])), name="t/kernel")
    return tf.nn.conv2d_transpose(x, kernel, [2, 12, 12, 5], 2, name="t/conv2d_transpose")


def dense(x, random, transpose_b=False):
    flat = tf.reshape(x, [-1, 108])
    kernel = normal(random, 5, 108) if transpose_b else normal(random, 108, 5)
    return tf.matmul(flat, tf.constant(kernel / 10), transpose_b=transpose_b, name="f/MatMul")


def convolution_3d(x, random):
    kernel = tf.constant(normal(random, 1, 3, 3, int(x.shape[-1]), 4))
    return RAW.Conv3D(input=x[:, tf.newaxis], filter=kernel, strides=[1] * 5, padding="SAME", name="v/Conv3D")


def fused(x, random, op=RAW.FusedBatchNormV3, values=None, **options):
    gamma, beta, mean, variance = statistics(random, int(x.shape[-1])) if values is None else values
    options = {"epsilon": 1e-3, "is_training": False, "name": "bn", **options}
    return op(x=x, scale=gamma, offset=beta, mean=mean, variance=variance, **options)[0]


def decomposed(x, random, form="Keras"):
    gamma, beta, mean, variance = statistics(random, int(x.shape[-1]))
    if form == "Keras":
        values = map(tf.constant, (mean, variance, beta, gamma))
        return tf.nn.batch_normalization(x, *values, 1e-3, name="bn")
    scale = gamma / np.sqrt(variance + np.float32(1e-3))
    if form == "Sub, Mul, Add":
        return RAW.Add(x=RAW.Mul(x=RAW.Sub(x=x, y=mean), y=scale), y=beta, name="bn")
    if form == "Mul, Sub":
        return RAW.Sub(x=RAW.Mul(x=scale, y=x), y=mean * scale - beta, name="bn")
    return RAW.Sub(x=beta, y=RAW.Mul(x=x, y=scale[np.newaxis]), name="bn")


def biased(x, random, op="BiasAdd"):
    value = normal(random, int(x.shape[-1]))
    if op == "BiasAdd":
        return tf.nn.bias_add(x, value, name="c/BiasAdd")
    return getattr(RAW, op)(x=x, y=value)


def computed(made: Made, *outputs: str) -> GraphDef:
    keep = frozenset(["x", *outputs])
    made.graph_def = prune(fold_constants(made.graph_def, keep).graph_def, keep).graph_def
    return made.graph_def


def folded(make: Callable, *outputs: str, tolerance: float = 1e-5) -> Rewritten:
    """The fold after the constants were computed, as in the pipeline."""
    made = Made(make, x=(2, 6, 6, 3))
    computed(made, *outputs)
    return made.check(fold_batch_norms, *outputs, tolerance=tolerance)


def norms(graph_def: GraphDef) -> int:
    found = ops(graph_def)
    return sum(found[op] for op in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "Mul"))


LAYERS = {
    "conv": conv,
    "depthwise": depthwise,
    "depthwise x 2": lambda x, random: depthwise(x, random, 2),
    "transposed": transposed,
    "dense": dense,
    "dense, weights transposed": lambda x, random: dense(x, random, True),
    "dilated": lambda x, random: conv(x, random, dilations=2),
    "Conv3D": convolution_3d,
}


@pytest.mark.parametrize("bias", [None, "BiasAdd", "AddV2", "Add", "Sub"])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_decomposed_norm_is_folded(layer, bias):
    def make(random):
        y = layer(image(), random)
        y = y if bias is None else biased(y, random, bias)
        tf.nn.relu(decomposed(y, random), name="out")

    done = folded(make, "out")
    found = ops(done.graph_def)
    assert norms(done.graph_def) == found["AddV2"] == found["Add"] == found["Sub"] == 0
    assert found["BiasAdd"] == 1
    assert done.notes == ()


@pytest.mark.parametrize("bias", [None, "BiasAdd", "AddV2"])
@pytest.mark.parametrize("layer", [k for k in LAYERS if "dense" not in k and k != "Conv3D"])
@pytest.mark.parametrize("op", ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"])
def test_a_fused_norm_is_folded(layer, bias, op):
    def make(random):
        y = LAYERS[layer](image(), random)
        y = y if bias is None else biased(y, random, bias)
        tf.nn.relu(fused(y, random, getattr(RAW, op)), name="out")

    done = folded(make, "out")
    assert norms(done.graph_def) == 0
    assert ops(done.graph_def)["BiasAdd"] == 1
    assert done.notes == ()


@pytest.mark.parametrize("form", ["Keras", "Sub, Mul, Add", "Mul, Sub", "Sub of Mul"])
def test_all_forms_of_a_decomposed_norm(form):
    done = folded(lambda random: tf.nn.relu(decomposed(conv(image(), random), random, form), name="out"), "out")
    assert ops(done.graph_def) == {"Conv2D": 1, "BiasAdd": 1, "Relu": 1}


def test_a_dilated_convolution_of_old_with_a_norm_after_batch_to_space():
    def make(random):
        apart = RAW.SpaceToBatchND(input=image(), block_shape=[2, 2], paddings=[[2, 2], [2, 2]])
        y = tf.nn.conv2d(apart, tf.constant(normal(random, 3, 3, 3, 4)), 1, "VALID", name="c/Conv2D")
        y = RAW.BatchToSpaceND(input=y, block_shape=[2, 2], crops=[[0, 0], [0, 0]], name="together")
        fused(biased(y, random), random)

    done = folded(make, "bn")
    assert norms(done.graph_def) == 0
    # The quantizers look for the bias after BatchToSpaceND.
    assert node(done.graph_def, "bn").input[0] == "together"


def test_a_norm_after_conv1d():
    def make(random):
        wide = tf.expand_dims(tf.reshape(image(), [-1, 36, 3]), 1)
        y = tf.squeeze(tf.nn.conv2d(wide, tf.constant(normal(random, 1, 3, 3, 4)), 1, "SAME"), [1])
        tf.nn.relu(decomposed(biased(y, random), random), name="out")

    assert norms(folded(make, "out").graph_def) == 0


def test_a_norm_that_is_the_output_keeps_its_name():
    done = folded(lambda random: fused(biased(conv(image(), random), random), random), "bn")
    assert node(done.graph_def, "bn").op == "BiasAdd"
    assert ops(done.graph_def) == {"Conv2D": 1, "BiasAdd": 1}


def test_names_come_from_the_layer():
    done = folded(lambda random: tf.nn.relu(fused(conv(image(), random), random), name="out"), "out")
    assert node(done.graph_def, "out").input == ["c/BiasAdd"]
    assert list(node(done.graph_def, "c/BiasAdd").input) == ["c/Conv2D", "c/bias"]


def test_names_that_are_taken_are_left_alone():
    def make(random):
        tf.constant(1.0, name="c/bias")
        tf.nn.relu(tf.nn.relu(fused(conv(image(), random), random), name="c/BiasAdd"), name="out")

    done = folded(make, "out", "c/bias")
    assert node(done.graph_def, "c/BiasAdd").op == "Relu"
    assert len({n.name for n in done.graph_def.node}) == len(done.graph_def.node)


@pytest.mark.parametrize("bias", ["AddV2", "Add", "Sub"])
def test_a_bias_by_add_becomes_bias_add(bias):
    done = folded(lambda random: tf.nn.relu(biased(dense(image(), random), random, bias), name="out"), "out")
    assert ops(done.graph_def) == {"Reshape": 1, "MatMul": 1, "BiasAdd": 1, "Relu": 1}


def test_a_kernel_that_two_layers_share_is_scaled_for_each_alone():
    def make(random):
        x, kernel = image(), tf.constant(normal(random, 3, 3, 3, 4), name="kernel")
        for i in (1, 2, 3):
            y = tf.nn.conv2d(x * i, kernel, 1, "SAME", name=f"c{i}/Conv2D")
            tf.nn.relu(y if i == 3 else fused(y, random, name=f"bn{i}"), name=f"out{i}")

    done = folded(make, "out1", "out2", "out3")
    assert len({node(done.graph_def, f"c{i}/Conv2D").input[1] for i in (1, 2, 3)}) == 3
    assert done.notes == ()


def test_one_bias_for_two_layers():
    def make(random):
        x, bias = image(), tf.constant(normal(random, 4))
        for i in (1, 2):
            fused(tf.nn.bias_add(conv(x, random, name=f"c{i}/Conv2D"), bias), random, name=f"bn{i}")

    assert norms(folded(make, "bn1", "bn2").graph_def) == 0


@pytest.mark.parametrize(
    ("gamma", "beta", "mean", "variance", "epsilon"),
    [
        (1, 0, 0.5, 2, 1e-3),  # scale=False and center=False: what Keras writes in their place
        (0, 1, 0.5, 2, 1e-3),
        (2, 1, 0.5, 0, 1e-3),  # no variance: a dead channel
        (2, 1, 0, 1e-12, 1e-12),
        (2, 1, 3, 1, 1.0),
        (-2, 1, 3, 4, 0.0),
    ],
)
def test_values(gamma, beta, mean, variance, epsilon):
    values = [np.full(4, value, np.float32) for value in (gamma, beta, mean, variance)]
    done = folded(lambda random: fused(conv(image(), random), random, values=values, epsilon=epsilon), "bn")
    assert norms(done.graph_def) == 0


def test_an_epsilon_that_is_left_to_the_op():
    made = Made(lambda random: fused(conv(image(), random), random, epsilon=1e-4), x=(2, 6, 6, 3))
    del node(made.graph_def, "bn").attr["epsilon"]
    assert norms(made.check(fold_batch_norms, "bn").graph_def) == 0


def test_no_variance_and_no_epsilon():
    values = [np.ones(4, np.float32)] * 3 + [np.array([1, 0, 1, 1], np.float32)]
    made = Made(lambda random: fused(conv(image(), random), random, values=values, epsilon=0.0), x=(2, 6, 6, 3))
    done = fold_batch_norms(computed(made, "bn"), frozenset(["x", "bn"]))
    assert ops(done.graph_def)["FusedBatchNormV3"] == 1
    assert done.notes == ("bn stays: its variance and epsilon are 0 or not numbers",)


def two_readers(random):
    y = conv(image(), random)
    tf.add(fused(y, random), y, name="out")


def after_add(random):
    x = image()
    fused(tf.add(conv(x, random), conv(x, random, name="c2"), name="sum"), random)


def after_relu(random):
    fused(tf.nn.relu(conv(image(), random), name="relu"), random)


def conv_is_output(random):
    fused(conv(image(), random), random)


def in_training(random):
    fused(conv(image(), random), random, is_training=True)


def statistics_read(random):
    options = {"epsilon": 1e-3, "is_training": False, "name": "bn"}
    gamma, beta, mean, variance = statistics(random, 4)
    y = RAW.FusedBatchNormV3(x=conv(image(), random), scale=gamma, offset=beta, mean=mean, variance=variance, **options)
    tf.identity(y[1], name="mean")


def kernel_fed(random):
    kernel = tf.reshape(image()[0, :, :, :], [3, 3, 3, 4])
    fused(tf.nn.conv2d(V1.get_default_graph().get_tensor_by_name("x:0"), kernel, 1, "SAME", name="c"), random)


def parameters_fed(random):
    y = conv(image(), random)
    gamma, beta, mean, variance = statistics(random, 4)
    beta = tf.reduce_mean(tf.reshape(V1.get_default_graph().get_tensor_by_name("x:0"), [4, -1]), 1)
    fused(y, random, values=(gamma, beta, mean, variance))


@pytest.mark.parametrize(
    ("make", "outputs", "reason"),
    [
        (two_readers, ["out"], "c/Conv2D, which it follows, is read by 2 nodes: bn, out"),
        (after_add, ["bn"], "it follows sum (AddV2), and only a convolution or a dense layer can take it in"),
        (after_relu, ["bn"], "it follows relu (Relu), and only"),
        (conv_is_output, ["bn", "c/Conv2D"], "c/Conv2D, which it follows, is an output of the graph"),
        (in_training, ["bn"], "it is in training mode"),
        (statistics_read, ["bn", "mean"], "the statistics that it gives beside its result are read"),
        (kernel_fed, ["bn"], "the kernel of c is not constant"),
        (parameters_fed, ["bn"], "its parameters are not constant"),
    ],
)
def test_what_stays_is_named_with_the_reason(make, outputs, reason):
    done = folded(make, *outputs)
    assert ops(done.graph_def)["FusedBatchNormV3"] == 1
    assert [note[: len(f"bn stays: {reason}")] for note in done.notes] == [f"bn stays: {reason}"]


def test_a_decomposed_norm_that_stays_is_named_too():
    def make(random):
        tf.nn.relu(decomposed(tf.nn.relu(conv(image(), random), name="relu"), random), name="out")

    done = folded(make, "out")
    assert ops(done.graph_def)["Mul"] == 1
    assert len(done.notes) == 1
    assert done.notes[0].startswith("bn/add_1 (with bn/mul_1) stays: it follows relu (Relu)")


def test_an_output_inside_the_chain_keeps_its_value():
    def make(random):
        tf.nn.relu(fused(biased(conv(image(), random), random), random), name="out")

    done = folded(make, "out", "c/BiasAdd")
    assert "c/BiasAdd, which it follows, is an output" in done.notes[0]


def test_a_single_number_is_left_to_its_activation():
    """Hard-sigmoid is relu6(x + 3) / 6, which the quantizers know by its form."""

    def make(random):
        y = biased(conv(image(), random), random)
        tf.nn.relu6(y + 3.0, name="gate") * np.float32(1 / 6)

    done = folded(make, "gate")
    assert ops(done.graph_def)["AddV2"] == 1


@pytest.mark.parametrize("shape", [(6, 6, 4), (1, 1, 1, 1, 4), (6, 1), (2, 1, 1, 4)])
def test_constants_that_are_not_one_number_a_channel_stay(shape):
    done = folded(lambda random: tf.add(conv(image(), random), normal(random, *shape), name="out"), "out")
    assert ops(done.graph_def) == {"Conv2D": 1, "AddV2": 1}


def test_a_vector_that_makes_one_channel_many_stays():
    done = folded(lambda random: tf.multiply(conv(image(), random, 1), normal(random, 4), name="out"), "out")
    assert ops(done.graph_def) == {"Conv2D": 1, "Mul": 1}


def nchw(random, norm: Callable):
    x = V1.placeholder(tf.float32, [None, 4, 4, 4], name="x")
    y = RAW.Conv2D(
        input=x, filter=normal(random, 1, 1, 4, 4), strides=[1] * 4, padding="SAME", data_format="NCHW", name="c"
    )
    norm(y, random)


def test_nchw_constants_lie_along_the_last_axis_and_not_along_channels():
    """No CPU kernel computes NCHW; width and channels are equal here, so a wrong fold would pass by shape."""
    made = Made(lambda random: nchw(random, decomposed))
    done = fold_batch_norms(computed(made, "bn/add_1"), frozenset(["x", "bn/add_1"]))
    assert ops(done.graph_def) == {"Conv2D": 1, "Mul": 1, "AddV2": 1}
    assert "c is NCHW" in done.notes[0]


def test_nchw_fused_is_folded_along_channels():
    made = Made(lambda random: nchw(random, lambda y, r: fused(y, r, data_format="NCHW")))
    done = fold_batch_norms(computed(made, "bn"), frozenset(["x", "bn"]))
    assert ops(done.graph_def) == {"Conv2D": 1, "BiasAdd": 1}
    assert node(done.graph_def, "bn").attr["data_format"].s == b"NCHW"


def test_layouts_that_differ():
    made = Made(lambda random: nchw(random, fused))
    done = fold_batch_norms(made.graph_def, frozenset(["x", "bn"]))
    assert done.notes == ("bn stays: it is NHWC, and c is NCHW",)


def test_float64_stays_float64():
    def make(random):
        x = V1.placeholder(tf.float64, [None, 4], name="y")
        y = tf.matmul(x, tf.constant(random.normal(size=(4, 3))))
        tf.add(y * random.normal(size=3), random.normal(size=3), name="out")

    made = Made(make)
    made.feeds = {"y": np.random.default_rng(0).normal(size=(2, 4))}
    done = made.check(fold_batch_norms, "out", tolerance=1e-12)
    assert ops(done.graph_def) == {"MatMul": 1, "BiasAdd": 1}


def test_the_mean_of_a_norm_that_stays_is_told():
    """vai_q_tensorflow crashes there; an activation between keeps it alive."""

    def make(random):
        gamma, beta, mean, variance = statistics(random, 3)
        norm = {"scale": gamma, "offset": beta, "mean": mean, "variance": variance, "is_training": False}
        y = tf.raw_ops.FusedBatchNormV3(x=tf.nn.relu(image()), name="bn", **norm)[0]
        tf.reduce_mean(y, [1, 2], name="gap")
        z = tf.raw_ops.FusedBatchNormV3(x=tf.nn.relu(image_of("other")), name="well", **norm)[0]
        tf.reduce_mean(tf.nn.relu(z), [1, 2], name="out")

    def image_of(name):
        return V1.placeholder(tf.float32, [None, 6, 6, 3], name=name)

    notes = Made(make, x=(2, 6, 6, 3), other=(2, 6, 6, 3)).check(fold_batch_norms, "gap", "out").notes
    assert ["crashes where gap (Mean) reads it" in note for note in notes if note.startswith("bn stays")] == [True]
    assert ["crashes" in note for note in notes if note.startswith("well stays")] == [False]
