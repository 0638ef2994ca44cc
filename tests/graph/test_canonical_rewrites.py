"""The rewrites that bring a graph to the one form: structure and numbers before and after, each by itself."""

from __future__ import annotations

import pytest
import tensorflow as tf
from graphs import V1, Made, image, node, normal, ops

from dnndk_prep.graph.rewrites.bias_to_layer import bias_to_layer
from dnndk_prep.graph.rewrites.distinct_names import distinct_names
from dnndk_prep.graph.rewrites.fuse_dilations import fuse_dilations
from dnndk_prep.graph.rewrites.merge_moves import merge_moves
from dnndk_prep.graph.rewrites.one_relu6 import one_relu6
from dnndk_prep.graph.rewrites.reduction_axes import reduction_axes
from dnndk_prep.graph.rewrites.static_shapes import static_shapes
from dnndk_prep.graph.rewrites.transposed_sizes import transposed_sizes
from dnndk_prep.graph.rewrites.unshare import unshare

X = (2, 6, 6, 3)


def axes_of(graph_def, name: str) -> list[int]:
    return tf.make_ndarray(node(graph_def, node(graph_def, name).input[1]).attr["value"].tensor).tolist()


@pytest.mark.parametrize("axes", [[2, 1], [-3, -2], [1, -2], [1, 2]])
def test_a_global_average_is_over_1_and_2(axes: list[int]):
    made = Made(lambda random: tf.reduce_mean(image(), axes, name="out"), x=X)
    assert axes_of(made.check(reduction_axes, "out").graph_def, "out") == [1, 2]


def test_one_axis_without_a_list_becomes_one():
    made = Made(lambda random: tf.reduce_max(image(), -1, name="out"), x=X)
    assert axes_of(made.check(reduction_axes, "out").graph_def, "out") == [3]


CLIPPED = {
    "clip_by_value": lambda x: tf.clip_by_value(x, 0.0, 6.0, name="out"),
    # As Keras 2.0 and 2.1 wrote relu(x, max_value=6).
    "keras": lambda x: tf.maximum(tf.minimum(tf.nn.relu(x), 6.0), 0.0, name="out"),
    "minimum": lambda x: tf.minimum(6.0, tf.nn.relu(x), name="out"),
    "other way round": lambda x: tf.minimum(tf.maximum(x, 0.0), 6.0, name="out"),
    "ClipByValue": lambda x: tf.raw_ops.ClipByValue(t=x, clip_value_min=0.0, clip_value_max=6.0, name="out"),
}


@pytest.mark.parametrize("form", CLIPPED)
def test_limits_of_0_and_6_are_one_relu6(form: str):
    made = Made(lambda random: CLIPPED[form](image() * 8.0), x=X)
    assert ops(made.check(one_relu6, "out").graph_def) == {"Mul": 1, "Relu6": 1}


def test_a_relu_that_more_read_stays_with_its_layer():
    def make(random):
        y = tf.nn.relu(image() * 8.0, name="relu")
        tf.add(tf.minimum(y, 6.0), y, name="out")

    assert ops(Made(make, x=X).check(one_relu6, "out").graph_def)["Minimum"] == 1


@pytest.mark.parametrize("bounds", [(0.0, 5.0), (1.0, 6.0)])
def test_other_limits_stay(bounds: tuple[float, float]):
    made = Made(lambda random: tf.clip_by_value(image() * 8.0, *bounds, name="out"), x=X)
    assert ops(made.check(one_relu6, "out").graph_def)["Relu6"] == 0


@pytest.mark.parametrize(("padding", "rates"), [("SAME", [2, 2]), ("VALID", [2, 1]), ("SAME", [2, 3])])
def test_a_dilated_convolution_is_one_node(padding: str, rates: list[int]):
    def make(random):
        kernel = normal(random, 2, 2, 3, 4)
        y = tf.nn.with_space_to_batch(image(), rates, padding, conv(kernel), filter_shape=[2, 2])
        tf.nn.relu(y, name="out")

    def conv(kernel):
        return lambda x, _, padding: V1.nn.conv2d(x, kernel, [1, 1, 1, 1], padding, name="conv")

    result = Made(make, x=X).check(fuse_dilations, "out").graph_def
    assert ops(result) == {"Conv2D": 1, "Relu": 1}
    fused = next(one for one in result.node if one.op == "Conv2D")
    assert list(fused.attr["dilations"].list.i) == [1, *rates, 1]
    assert fused.attr["padding"].s.decode() == padding


def test_other_paddings_become_a_pad():
    def make(random):
        parted = tf.space_to_batch(image(), [2, 2], [[0, 2], [0, 2]])
        y = V1.nn.conv2d(parted, normal(random, 3, 3, 3, 4), [1, 1, 1, 1], "VALID")
        tf.nn.relu(tf.batch_to_space(y, [2, 2], [[0, 0], [0, 0]]), name="out")

    assert ops(Made(make, x=X).check(fuse_dilations, "out").graph_def) == {"Pad": 1, "Conv2D": 1, "Relu": 1}


def test_a_dilated_depthwise_convolution_stays():
    def make(random):
        y = tf.nn.depthwise_conv2d(image(), normal(random, 2, 2, 3, 1), [1, 1, 1, 1], "SAME", dilations=[2, 2])
        tf.nn.relu(y, name="out")

    done = Made(make, x=X).check(fuse_dilations, "out")
    assert "BatchToSpaceND" in ops(done.graph_def)
    (note,) = done.notes
    assert note.startswith("depthwise (DepthwiseConv2dNative) stays")


OWN_BATCH = (
    lambda x: tf.stack([tf.shape(x)[0], -1]),
    lambda x: tf.concat([tf.shape(x)[0:1], [-1]], 0),
    lambda x: tf.concat([tf.slice(tf.shape(x), [0], [1]), [-1]], 0),
)


@pytest.mark.parametrize("shape", OWN_BATCH, ids=["stack", "concat", "slice"])
def test_a_flatten_by_the_tensors_own_batch_has_a_constant_shape(shape):
    """As TensorFlow 1.9 writes it: TensorFlow infers no size of the result."""

    def make(random):
        x = image()
        tf.nn.relu(tf.reshape(x, shape(x)), name="out")

    done = Made(make, x=X).check(static_shapes, "out").graph_def
    assert ops(done) == {"Reshape": 1, "Relu": 1}
    assert axes_of(done, next(one.name for one in done.node if one.op == "Reshape")) == [-1, 108]


def test_a_reshape_by_the_batch_of_another_tensor_stays():
    def make(random):
        x, other = image(), V1.placeholder(tf.float32, [None, 2], name="other")
        tf.nn.relu(tf.reshape(x, [tf.shape(other)[0], -1]), name="out")

    assert ops(Made(make, x=X, other=(1, 2)).check(static_shapes, "out").graph_def)["Pack"] == 1


def test_moves_that_move_nothing_go():
    def make(random):
        x = V1.transpose(image(), [0, 1, 2, 3])
        x = tf.reshape(tf.reshape(x, [-1, 6, 6, 3]), [-1, 36, 3])
        tf.nn.relu(tf.reshape(x, [-1, 108]), name="out")

    assert ops(Made(make, x=X).check(merge_moves, "out").graph_def) == {"Reshape": 1, "Relu": 1}


def test_moves_that_move_something_stay():
    made = Made(lambda random: V1.transpose(image(), [0, 2, 1, 3], name="out"), x=X)
    assert ops(made.check(merge_moves, "out").graph_def) == {"Transpose": 1}


def test_a_transposed_convolution_of_a_free_batch_has_the_form_that_quantizers_know():
    def make(random):
        x = image()
        sizes = tf.stack([tf.shape(x)[0], 12, 18, 5])
        tf.nn.relu(tf.nn.conv2d_transpose(x, normal(random, 3, 3, 5, 3), sizes, [2, 3], name="up"), name="out")

    done = Made(make, x=X).check(transposed_sizes, "out")
    pack = node(done.graph_def, next(n for n in done.graph_def.node if n.op == "Conv2DBackpropInput").input[0])
    assert [node(done.graph_def, name).op for name in pack.input] == ["StridedSlice", "Mul", "Mul", "Const"]
    assert done.notes == ()


def test_a_transposed_convolution_that_has_no_such_form_is_named():
    def make(random):
        x = image()
        sizes = tf.stack([tf.shape(x)[0], 13, 13, 5])
        tf.nn.conv2d_transpose(x, normal(random, 3, 3, 5, 3), sizes, 2, "VALID", name="up")

    made = Made(make, x=X)
    name = next(n.name for n in made.graph_def.node if n.op == "Conv2DBackpropInput")
    (note,) = made.check(transposed_sizes, name).notes
    assert note.startswith(f"{name}: with a free batch")


def test_a_fixed_batch_makes_the_size_a_constant():
    def make(random):
        x = V1.placeholder(tf.float32, [2, 6, 6, 3], name="x")
        sizes = tf.stack([tf.shape(x)[0], 12, 12, 5])
        tf.nn.relu(tf.nn.conv2d_transpose(x, normal(random, 3, 3, 5, 3), sizes, 2), name="out")

    assert ops(Made(make, x=X).check(static_shapes, "out").graph_def) == {"Conv2DBackpropInput": 1, "Relu": 1}


def test_a_tensordot_is_a_product_between_reshapes():
    """Dense on images as Keras writes it: GatherV2, Prod and a ConcatV2 of whole numbers."""

    def make(random):
        x = tf.tensordot(image(), normal(random, 3, 4), [[3], [0]])
        tf.nn.relu(tf.tensordot(x, normal(random, 4, 5), [[3], [0]]), name="out")

    result = Made(make, x=X).check(static_shapes, "out").graph_def
    assert not {"Prod", "GatherV2", "Shape"} & set(ops(result))
    assert all(node(result, one.input[1]).op == "Const" for one in result.node if one.op == "Reshape")


def test_a_bias_stands_behind_its_layer():
    def make(random):
        x = tf.matmul(tf.reshape(image(), [-1, 3]), normal(random, 3, 4), name="fc/MatMul")
        x = tf.nn.bias_add(tf.reshape(x, [-1, 6, 6, 4], name="fc/shape"), normal(random, 4), name="fc/BiasAdd")
        tf.nn.relu(x, name="out")

    result = Made(make, x=X).check(bias_to_layer, "out").graph_def
    assert node(result, "fc/BiasAdd").input[0] == "fc/MatMul"
    assert node(result, "out").input[0] == "fc/shape"


def test_a_bias_that_is_the_output_gives_its_name_to_the_reshape():
    def make(random):
        x = tf.matmul(tf.reshape(image(), [-1, 3]), normal(random, 3, 4))
        tf.nn.bias_add(tf.reshape(x, [-1, 6, 6, 4]), normal(random, 4), name="out")

    result = Made(make, x=X).check(bias_to_layer, "out").graph_def
    assert node(result, "out").op == "Reshape"


def test_a_bias_over_other_channels_stays():
    def make(random):
        x = tf.matmul(tf.reshape(image(), [-1, 3]), normal(random, 3, 4))
        tf.nn.bias_add(tf.reshape(x, [-1, 6, 12, 2]), normal(random, 2), name="out")

    assert node(Made(make, x=X).check(bias_to_layer, "out").graph_def, "out").op == "BiasAdd"


def test_names_differ_when_slashes_become_underscores():
    def make(random):
        x = tf.nn.relu(image(), name="a/b")
        x = tf.nn.tanh(x, name="a_b")
        tf.add(x, tf.nn.relu(x, name="a_b_1"), name="out")

    result = Made(make, x=X).check(distinct_names, "out").graph_def
    names = [one.name.replace("/", "_") for one in result.node]
    assert len(set(names)) == len(names)
    assert node(result, "a/b").op == "Relu"


def test_two_outputs_of_one_flat_name_are_told():
    def make(random):
        tf.nn.tanh(tf.nn.relu(image(), name="a/b"), name="a_b")

    (note,) = Made(make, x=X).check(distinct_names, "a/b", "a_b").notes
    assert "a/b and a_b" in note


def test_each_layer_gets_constants_of_its_own():
    def make(random):
        kernel, bias = tf.constant(normal(random, 3, 3, 3, 3), name="k"), tf.constant(normal(random, 3), name="b")
        x = image()
        for i in range(2):
            x = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME", name=f"conv_{i}/conv"), bias, name=f"conv_{i}/bias")
        tf.nn.relu(x, name="out")

    result = Made(make, x=X).check(unshare, "out").graph_def
    read = [one.input[1] for one in result.node if one.op in ("Conv2D", "BiasAdd")]
    assert len(set(read)) == len(read) == 4
