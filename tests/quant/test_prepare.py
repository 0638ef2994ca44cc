"""What the vendor's tool makes of a graph before it quantizes: graphs of our own, rule by rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from nets import Net, fixes, ops, values

from dnndk_prep.errors import StageError
from dnndk_prep.quant.network import to_graph_def
from dnndk_prep.quant.settings import Settings
from dnndk_prep.quant.vai_q_tf1.pools import scale_factor
from dnndk_prep.quant.vendor import plan


def folded(net: Net, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of a batch norm of the net, in single precision."""
    value = {item.name: item.value for item in net.nodes}
    gamma, beta, mean, var = (value[f"{name}/{key}"] for key in ("gamma", "beta", "mean", "var"))
    scale = (np.float32(1) / np.sqrt(var + np.float32(0.001))) * gamma
    return scale, -mean * scale + beta


def test_a_batch_norm_behind_a_layer_without_bias():
    net = Net()
    net.norm("bn", net.conv("c", "x"))
    made, (scale, offset) = net.plan(), folded(net, "bn")
    assert ops(made) == {"x": "Placeholder", "c": "Conv2D", "bn": "BiasAdd"}
    np.testing.assert_array_equal(values(made)["c/k"], net.nodes[1].value * scale)
    np.testing.assert_array_equal(values(made)["c/k/biases"], offset)


def test_a_batch_norm_behind_a_bias():
    net = Net()
    net.norm("bn", net.biased("c", "x"))
    net.op("Relu", "r", "bn")
    made, (scale, offset) = net.plan(), folded(net, "bn")
    assert ops(made) == {"x": "Placeholder", "c": "Conv2D", "c/add": "BiasAdd", "r": "Relu"}
    bias = next(item.value for item in net.nodes if item.name == "c/bias")
    np.testing.assert_array_equal(values(made)["c/bias"], bias * scale + offset)


def test_biases_are_named_after_the_kernel_without_the_word_weights():
    net = Net()
    kernel = net.weights("scope/weights", 1, 1, 4, 4)
    net.op("Conv2D", "c", "x", kernel, strides=[1, 1, 1, 1], padding="SAME", data_format="NHWC")
    net.norm("bn", "c")
    assert values(net.plan()).keys() == {"scope/weights", "scope/biases"}


@pytest.mark.parametrize("between", ["relu", "pad", "reader", "nothing"])
def test_a_batch_norm_that_no_layer_can_take_in_is_a_layer_itself(between: str):
    net = Net()
    last = net.conv("c", "x")
    if between == "relu":
        last = net.op("Relu", "r", last)
    if between == "pad":
        last = net.op(
            "Pad", "p", last, net.const("p/size", [[0, 0], [1, 1], [1, 1], [0, 0]], np.int32), Tpaddings=tf.int32
        )
    net.norm("bn", last)
    ends = ["bn"]
    if between == "reader":
        ends.append(net.op("Tanh", "t", "c"))
    found = fixes(net.plan(*ends))
    if between == "nothing":
        assert "bn/scale" not in found
    else:
        assert {name: found[name] for name in ("bn/scale", "bn/offset", "bn")} == {
            "bn/scale": 0,
            "bn/offset": 0,
            "bn": 1,
        }
        assert [group.layer for group in net.plan(*ends).places.groups] == ["bn/mul", "c"]


def test_of_two_batch_norms_of_one_tensor_the_second_stays():
    net = Net()
    net.pool("p", "x")
    net.norm("first", "p")
    net.norm("second", "p")
    made = net.plan("first", "second")
    kinds = sorted(ops(made)[name] for name in ("first", "second"))
    assert kinds == ["BiasAdd", "FusedBatchNormV3"]
    assert any("stays" in note or "leaves this batch norm in float" in note for note in made.prepared.notes)


def test_a_batch_norm_written_out_is_folded_too():
    net = Net()
    net.conv("c", "x")
    net.op("AddV2", "add", net.op("Mul", "mul", "c", net.const("s", [1, 2, 3, 4])), net.const("o", [1, 1, 1, 1]))
    made = net.plan()
    assert ops(made) == {"x": "Placeholder", "c": "Conv2D", "add": "AddV2"}
    assert fixes(made)["c/k/biases"] == 0


def test_scales_of_other_shapes_stay_and_are_told():
    net = Net()
    net.conv("c", "x")
    scale = net.const("s", np.ones((1, 1, 1, 4)))
    net.op("AddV2", "add", net.op("Mul", "mul", "c", scale), net.const("o", [1, 1, 1, 1]))
    made = net.plan()
    assert "mul" in ops(made)
    assert "vai_q_tensorflow stops" in made.prepared.notes[0]


def test_training_batch_norms_are_refused():
    net = Net()
    net.conv("c", "x")
    given = [net.const(f"bn/{key}", np.ones(4)) for key in ("gamma", "beta")]
    given += [net.const(f"bn/{key}", []) for key in ("mean", "var")]
    net.op("FusedBatchNormV3", "bn", "c", *given, U=tf.float32, epsilon=0.001, is_training=True, data_format="NHWC")
    with pytest.raises(StageError, match="training form"):
        net.plan()


def test_products_with_constants_behind_a_bias_are_folded():
    for is_first in (False, True):
        net = Net()
        last = net.biased("c", "x")
        pair = [net.const("two", 2), last] if is_first else [last, net.const("two", 2)]
        net.op("Relu", "r", net.op("Mul", "m", *pair))
        made = net.plan()
        assert "m" not in ops(made)
        np.testing.assert_array_equal(values(made)["c/k"], net.nodes[1].value * 2)
        assert not made.prepared.notes


def test_products_behind_dense_layers_are_folded_though_the_tool_aborts():
    net = Net((None, 4))
    net.op("MatMul", "d", "x", net.weights("k", 4, 3), transpose_a=False, transpose_b=False)
    net.op("BiasAdd", "b", "d", net.weights("bias", 3))
    net.op("Relu", "r", net.op("Mul", "m", "b", net.const("two", 2)))
    made = net.plan()
    assert fixes(made) == {"x": 1, "k": 0, "bias": 0, "r": 1}
    np.testing.assert_array_equal(values(made)["k"], net.nodes[1].value * 2)
    assert "aborts" in made.prepared.notes[0]


def test_an_output_that_is_folded_away_is_found_again():
    net = Net()
    net.norm("bn", net.biased("c", "x"))
    made = net.plan()
    assert made.prepared.outputs == ("c/add",)
    assert made.ends == ["c/add/aquant"]
    assert "folds away" in made.prepared.notes[0]
    assert net.plan(do_cle=1).ends == ["c/add/aquant"]


def test_means_become_pools():
    for keep_dims in (True, False):
        net = Net((None, 6, 9, 4))
        net.op("Relu", "r", net.mean("m", net.biased("c", "x"), keep_dims=keep_dims))
        made = net.plan()
        named = {item.name: item for item in made.prepared.nodes}
        assert list(named["m"].attrs["ksize"].list.i) == [1, 6, 9, 1]
        assert named["m/mul"].inputs == ("m", "m/scale_value")
        assert named["r"].inputs == (("m/mul",) if keep_dims else ("m/squeeze",))
        if not keep_dims:
            assert named["m/squeeze"].inputs == ("m/mul",)


@pytest.mark.parametrize("axes", [(2, 1), (-3, -2), (1,), (1, 2, 3), (3,)])
def test_means_over_other_axes_stay(axes: tuple[int, ...]):
    net = Net()
    net.mean("m", net.biased("c", "x"), axes)
    made = net.plan()
    assert ops(made)["m"] == "Mean"
    assert fixes(made)["m"] == 1


def test_two_means_of_one_tensor_or_with_one_constant_for_their_axes():
    net = Net()
    last = net.biased("c", "x")
    net.mean("first", last)
    net.mean("second", last)
    assert sorted(ops(net.plan("first", "second"))[name] for name in ("first", "second")) == ["AvgPool", "Mean"]


@pytest.mark.parametrize(("kernel", "first", "second"), [((32, 16), (4, 4), (8, 4)), ((23, 23), (1, 1), (23, 23))])
def test_large_pools_are_split(kernel: tuple[int, int], first: tuple[int, int], second: tuple[int, int]):
    for kind in ("AvgPool", "MaxPool"):
        net = Net((None, *kernel, 4))
        net.op("Relu", "r", net.pool("p", net.biased("c", "x"), kernel, kind))
        named = {item.name: item for item in net.plan().prepared.nodes}
        assert list(named["p_viti_split"].attrs["ksize"].list.i) == [1, *first, 1]
        assert list(named["p"].attrs["ksize"].list.i) == [1, *second, 1]
        behind = "p_viti_split/mul" if kind == "AvgPool" else "p_viti_split"
        assert named["p"].inputs == (behind,)
        assert ("p_viti_split/scale_value" in named) == (kind == "AvgPool")
    net = Net((None, 32, 15, 4))
    net.pool("p", net.biased("c", "x"), (32, 15))
    assert "p_viti_split" not in ops(net.plan())


FACTORS = {(3, 3): 63 / 64, (5, 5): 250 / 256, (6, 6): 252 / 256, (7, 7): 1029 / 1024, (14, 14): 4116 / 4096}
FOUND = {(2, 2): 1.0, (1, 1): 1.0, (4, 4): 1.0, (10, 10): 1.000977, (2, 5): 0.9960938, (9, 9): 0.998657}


@pytest.mark.parametrize(("kernel", "factor"), [*FACTORS.items(), *FOUND.items()])
def test_scales_of_average_pools(kernel: tuple[int, int], factor: float):
    assert scale_factor(*kernel, scale_all=True) == pytest.approx(factor, abs=2e-6)
    assert (scale_factor(*kernel, scale_all=False) is None) == (kernel not in FACTORS)
    assert scale_factor(257, 1, scale_all=True) is None


def test_pools_with_channels_first_are_refused():
    net = Net()
    net.pool("p", "x", kind="AvgPool")
    attrs = {**net.nodes[-1].attrs}
    attrs["data_format"] = type(attrs["data_format"])(s=b"NCHW")
    net.nodes[-1] = type(net.nodes[-1])("p", "AvgPool", ("x",), attrs)
    with pytest.raises(StageError, match="channels first"):
        net.plan()


def test_minimum_of_relu_is_relu6_whatever_the_constant():
    net = Net()
    net.op("Minimum", "m", net.op("Relu", "r", net.biased("c", "x")), net.const("one", 1))
    made = net.plan()
    assert ops(made)["m"] == "Relu6"
    assert "ceiling 1 for 6" in made.prepared.notes[0]
    right = plan(to_graph_def(net.nodes), ["x"], ["m"], {}, Settings(), is_faithful=False)
    assert ops(right)["m"] == "Minimum"
    assert not right.prepared.notes


@pytest.mark.parametrize(("keep_dims", "last"), [(True, "m/mul"), (False, "m/squeeze")])
def test_averages_as_outputs_have_their_factor_unless_it_is_done_as_the_vendor_does(keep_dims: bool, last: str):
    net = Net()
    net.mean("m", net.biased("c", "x"), keep_dims=keep_dims)
    made = net.plan()
    assert made.prepared.outputs == ("m",)
    assert f"up to {last}" in made.prepared.notes[0]
    right = plan(to_graph_def(net.nodes), ["x"], ["m"], {}, Settings(), is_faithful=False)
    assert right.prepared.outputs == (last,)
    assert right.ends == [f"{last}/aquant"]
    assert not right.prepared.notes


def test_a_hard_swish_as_an_output_whose_steps_are_exchanged():
    net = Net()
    last = net.biased("c", "x")
    net.op("Relu6", "six", net.op("AddV2", "plus", last, net.const("three", 3)))
    net.op("Mul", "end", net.op("Mul", "inner", last, "six"), net.const("sixth", 1 / 6))
    made = net.plan()
    assert made.prepared.outputs == ("end",)
    assert "gate of a hard-swish" in made.prepared.notes[0]
    right = plan(to_graph_def(net.nodes), ["x"], ["end"], {}, Settings(), is_faithful=False)
    assert right.ends == ["inner/aquant"]
    assert not right.prepared.notes


def test_hard_sigmoids_of_other_constants_are_told():
    for three, sixth, is_told in ((3, 1 / 6, False), (1, 1 / 6, True), (3, 0.5, True)):
        net = Net()
        net.op("Relu6", "six", net.op("AddV2", "plus", net.biased("c", "x"), net.const("three", three)))
        net.conv("d", net.op("Mul", "h", "six", net.const("sixth", sixth)))
        assert any("hard-sigmoid" in note for note in net.plan().prepared.notes) == is_told


def test_large_pools_with_strides_of_their_own_are_told():
    net = Net((None, 64, 32, 4))
    net.pool("p", net.biased("c", "x"), (32, 16))
    assert not any("strides" in note for note in net.plan().prepared.notes)
    net.nodes[-1].attrs["strides"].list.i[1] = 1
    assert any("without its strides" in note for note in net.plan().prepared.notes)


def test_leaky_alphas():
    for alpha, wanted in ((0.1, 26 / 256), (0.100005, 26 / 256), (0.2, 0.2), (0.10002, 0.10002)):
        net = Net()
        net.op("LeakyRelu", "l", net.biased("c", "x"), alpha=alpha)
        named = {item.name: item for item in net.plan().prepared.nodes}
        assert named["l"].attrs["alpha"].f == np.float32(wanted)
        net = Net()
        last = net.biased("c", "x")
        net.op("Maximum", "l", net.op("Mul", "m", net.const("alpha", alpha), last), last)
        assert values(net.plan())["alpha"].reshape(-1)[0] == np.float32(wanted)
        assert values(net.plan(simulate_dpu=0))["alpha"] == np.float32(alpha)


def test_sigmoids_become_hard_sigmoids_where_asked():
    net = Net()
    net.op("Sigmoid", "s", net.biased("c", "x"))
    net.conv("d", "s")
    made = net.plan(replace_sigmoid=1)
    named = {item.name: item for item in made.prepared.nodes}
    last = "s/h_sigmoid/mul/vitis_hard_sigmoid_mul"
    assert named["d"].inputs[0] == last
    assert fixes(made)[last] == 1
    assert values(made)["s/offset"] == 3
    assert values(made)["s/h_sigmoid/scale"] == np.float32(1 / 6)
    assert values(made)[f"{last}/scale"] == np.float32(6 * 2731 / 16384)


def test_what_identities_hand_on_and_what_is_folded():
    net = Net()
    net.op("Identity", "c/k/read", net.weights("c/k", 3, 3, 4, 4))
    net.op("Conv2D", "c", "x", "c/k/read", strides=[1, 1, 1, 1], padding="SAME", data_format="NHWC")
    net.op("Identity", "between", "c")
    net.op("Relu", "r", "between")
    net.op("Identity", "out", "r")
    made = net.plan()
    assert ops(made) == {"x": "Placeholder", "c": "Conv2D", "r": "Relu", "out": "Identity"}
    assert values(made).keys() == {"c/k/read/_0__cf__0"}
    assert made.ends == ["out"]


def test_attributes_that_were_left_out_have_their_defaults():
    net = Net()
    net.op("LeakyRelu", "l", net.norm("bn", net.conv("c", "x")), alpha=0.2)
    net.mean("m", "l", keep_dims=False)
    for item in net.nodes:
        for key in ("data_format", "is_training", "keep_dims", "alpha", "dilations"):
            item.attrs.pop(key, None)
    named = {item.name: item for item in net.plan().prepared.nodes}
    assert named["l"].attrs["alpha"].f == np.float32(0.2)
    assert list(named["c"].attrs["dilations"].list.i) == [1, 1, 1, 1]
    assert named["m/squeeze"].inputs == ("m/mul",)


def test_nothing_is_computed_in_front_of_inner_inputs():
    net = Net((None, 8, 8, 3))
    net.op("Relu", "r", net.biased("c", "x", channels=3))
    net.op("Identity", "d/k/read", net.weights("d/k", 3, 3, 4, 4))
    net.op("Conv2D", "d", "r", "d/k/read", strides=[1, 1, 1, 1], padding="SAME", data_format="NHWC")
    net.mean("m", "d")
    net.op("Relu", "end", "m")
    made = net.plan(inputs=["r"])
    # TensorFlow's transform refuses inputs that are no placeholders, and the quantizer goes on with the graph as it is.
    assert "d/k" in values(made)
    assert "d/k/read/_0__cf__0" in values(net.plan(inputs=["x"]))
    # Whose arrays are wanted, and the size that follows for the average.
    assert made.prepared.fed == ("x",)
    named = {item.name: item for item in made.prepared.nodes}
    assert list(named["m"].attrs["ksize"].list.i) == [1, 8, 8, 1]


def test_a_placeholder_with_default_that_is_an_input_loses_it():
    net = Net()
    fill = net.const("fill", np.zeros((1, 8, 8, 4)))
    net.put(replace(net.nodes[0], name="y", op="PlaceholderWithDefault", inputs=(fill,)))
    net.op("AddV2", "a", "x", "y")
    made = net.plan(inputs=["x", "y"])
    assert ops(made) == {"x": "Placeholder", "y": "Placeholder", "a": "AddV2"}
    assert made.prepared.fed == ("x", "y")
    # Nobody names it: it is a value like any other.
    assert ops(net.plan())["y"] == "PlaceholderWithDefault"


def test_inputs_and_outputs_that_have_nothing_to_do_with_each_other():
    net = Net()
    net.op("Relu", "r", net.biased("c", "x"))
    net.op("Identity", "k/read", "c/k")
    with pytest.raises(StageError, match="k/read does not depend on x"):
        net.plan("r", "k/read")
    with pytest.raises(StageError, match="computed from no placeholder"):
        net.plan("r", inputs=["c/k", "x"])


def test_constants_of_more_than_ten_mebibytes_keep_their_own_name():
    net = Net((None, 2048))
    net.op("Identity", "k/read", net.const("k", np.zeros((2048, 1281))))
    net.op("MatMul", "m", "x", "k/read", transpose_a=False, transpose_b=False)
    assert values(net.plan()).keys() == {"k"}


def test_layers_get_constants_of_their_own():
    net = Net()
    kernel, bias = net.weights("k", 3, 3, 4, 4), net.weights("b", 4)
    for name, source in (("c", "x"), ("d", "r_c"), ("e", "r_d")):
        net.op("Conv2D", name, source, kernel, strides=[1, 1, 1, 1], padding="SAME", data_format="NHWC")
        net.op("Relu", f"r_{name}", net.op("BiasAdd", f"{name}/add", name, bias))
    made = net.plan()
    assert values(made).keys() == {"k", "k1", "k2", "b", "b1", "b2"}
    assert len(made.places.groups) == 3


def test_equalization():
    net = Net()
    for name, source in (("c", "x"), ("d", "r_c")):
        net.op("Relu6", f"r_{name}", net.biased(name, source))
    start = {item.name: item.value for item in net.nodes}
    start["d/k"][:, :, 1] *= 50
    start["d/k"][:, :, 3] = 0
    made = net.plan(do_cle=1)
    assert ops(made)["r_c"] == "Relu"
    got = values(made)
    scale = got["c/bias"] / start["c/bias"]
    np.testing.assert_allclose(got["c/k"], start["c/k"] * scale, rtol=1e-5)
    np.testing.assert_allclose(got["d/k"], start["d/k"] / scale[:, None], rtol=1e-5)
    head = np.maximum(np.abs(got["c/k"]).max((0, 1, 2)), np.abs(got["c/bias"]))
    np.testing.assert_allclose(head[:3], np.abs(got["d/k"]).max((0, 1, 3))[:3], rtol=1e-4)
    # Nothing reads the last channel: it shrinks a hundredfold a round, until it is too small to count.
    assert head[3] < 0.5
    assert ops(net.plan(do_cle=1, replace_relu6=0))["r_c"] == "Relu6"


def test_chains_of_equalization_end_at_branches_and_unknown_ops():
    for middle in ("Tanh", "branch"):
        net = Net()
        last = net.biased("c", "x")
        between = net.op("Relu", "r", last) if middle == "branch" else net.op(middle, "t", last)
        net.biased("d", between)
        ends = ["d/add", net.op("Elu", "other", "r")] if middle == "branch" else ["d/add"]
        np.testing.assert_array_equal(values(net.plan(*ends, do_cle=1))["c/k"], net.nodes[1].value)


def test_placeholders_that_are_not_named_are_asked_for():
    net = Net()
    net.op("AddV2", "a", "x", net.placeholder("y"))
    with pytest.raises(StageError, match="y must be fed"):
        net.plan()
