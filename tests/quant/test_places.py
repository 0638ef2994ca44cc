"""Which nodes get a FixNeuron, of which mode: graphs of our own for the rules of the vendor's tool, one by one."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from nets import Net, fixes

from dnndk_prep.errors import StageError
from dnndk_prep.quant.vendor import Plan, quantize

W, A, D = 0, 1, 2
CONV = {"x": A, "c/k": W}


@pytest.mark.parametrize(
    ("kind", "bias", "has_relu", "wanted"),
    [
        ("BiasAdd", "offset", False, {"c/offset": W, "c/add": A}),
        ("Add", "offset", False, {"c/offset": W, "c/add": A}),
        ("AddV2", "my_bias", False, {"c/my_bias": W, "c/add": A}),
        # No bias: layer and constant are two tensors that are added.
        ("AddV2", "offset", False, {"c": A, "c/offset": A, "c/add": A}),
        ("AddV2", "offset", True, {"c/offset": W, "r": A}),
    ],
)
def test_what_is_a_bias(kind: str, bias: str, has_relu: bool, wanted: dict[str, int]):
    net = Net()
    last = net.biased("c", "x", kind, bias)
    if has_relu:
        net.op("Relu", "r", last)
    assert fixes(net.plan()) == CONV | wanted


def test_a_sum_that_is_added_to_a_layer_without_bias_passes_for_its_bias():
    for kind in ("Add", "AddV2"):
        net = Net()
        net.op("Relu", "r0", net.biased("c0", "x"))
        net.op("Add", "a1", "r0", "x")
        net.op("Relu", "r1", "a1")
        net.conv("c", "r1")
        net.op(kind, "a2", "c", "a1")
        found = fixes(net.plan())
        if kind == "Add":
            assert (found["a1"], found["a2"]) == (W, A)
            assert "c" not in found
        else:
            # The sum belongs to its relu, so the second one reads a part that is not quantized.
            assert found["c"] == A
            assert {"a1", "a2"}.isdisjoint(found)


FLOAT_OPS = ["Sigmoid", "Tanh", "Elu", "Softplus", "Exp", "StopGradient", "CheckNumerics"]


@pytest.mark.parametrize("kind", FLOAT_OPS)
def test_ops_that_are_not_known_stay_in_float_unless_a_layer_reads_them(kind: str):
    attrs = {"message": "no"} if kind == "CheckNumerics" else {}
    net = Net()
    net.biased("c", "x")
    net.op(kind, "u", "c/add", **attrs)
    assert "u" not in fixes(net.plan())
    net.conv("d", "u")
    assert fixes(net.plan())["u"] == A


@pytest.mark.parametrize("kind", ["Sub", "RealDiv", "Minimum"])
def test_pairs_that_are_not_known_and_what_reads_them(kind: str):
    net = Net()
    net.op(kind, "u", "x", net.biased("c", "x"))
    net.op("AddV2", "a", "u", "x")
    net.op("Relu", "r", "u")
    net.op("AddN", "n", "u", "a", N=2)
    # One input alone: always. Two: if what comes first is quantized.
    assert {name: name in fixes(net.plan("r", "n")) for name in ("u", "a", "r", "n")} == {
        "u": False,
        "a": False,
        "r": True,
        "n": False,
    }


def test_single_input_ops_are_always_quantized_and_others_if_what_they_read_is():
    net = Net()
    net.op("Tanh", "t", "x")
    net.pool("p", "t")
    net.reshape("s", "t", -1, 256)
    net.op("Softmax", "e", "s")
    net.pad("q", "t")
    net.op("Squeeze", "z", "t", squeeze_dims=[])
    assert fixes(net.plan("p", "e", "q", "z")) == {"x": A, "p": A, "e": A, "z": A}


def test_pad_transpose_max_sum_and_slices_of_quantized_tensors():
    net = Net()
    last = net.biased("c", "x")
    net.pad("q", last)
    net.op("Transpose", "t", "q", net.const("t/order", [0, 2, 1, 3], np.int32), Tperm=tf.int32)
    net.op("Max", "m", "t", net.const("m/axes", [1], np.int32), keep_dims=True, Tidx=tf.int32)
    net.op("Sum", "s", "m", net.const("s/axes", [2], np.int32), keep_dims=True, Tidx=tf.int32)
    ends = [net.const(f"i/{key}", value, np.int32) for key, value in (("b", [0]), ("e", [1]), ("s", [1]))]
    net.op("StridedSlice", "i", "s", *ends, Index=tf.int32)
    net.op(
        "Slice",
        "j",
        "s",
        net.const("j/b", [0, 0, 0, 0], np.int32),
        net.const("j/s", [1, 1, 1, 1], np.int32),
        Index=tf.int32,
    )
    assert fixes(net.plan("i", "j")) == CONV | {"c/bias": W} | dict.fromkeys(["c/add", "q", "t", "m", "s", "i"], A)


def test_a_clip_is_one_pattern():
    net = Net()
    last = net.biased("c", "x")
    net.op("Minimum", "low", last, net.const("high", 5))
    net.op("Maximum", "clip", "low", net.const("zero", 0))
    found = fixes(net.plan())
    assert "low" not in found
    assert found["clip"] == A


def test_concat_takes_all_its_parts_constants_too():
    net = Net()
    net.op("Tanh", "t", "x")
    net.const("fill", np.ones((1, 8, 8, 4)))
    net.op("ConcatV2", "cat", "t", "fill", net.const("axis", 3, np.int32), N=2, Tidx=tf.int32)
    # The parts get one, the concat none: it was not its turn while they had none.
    assert fixes(net.plan()) == {"x": A, "t": A, "fill": A}


def test_products_and_sums_with_constants():
    net = Net()
    net.op("Mul", "m", "x", net.const("two", 2))
    net.op("AddV2", "a", net.const("three", 3), "m")
    net.op("Mul", "n", "x", net.const("four", 4))
    net.op("Relu", "r", "n")
    # With a relu behind, it is a pair whose second part is not quantized.
    assert fixes(net.plan("a", "r")) == {"x": A, "m": A, "two": A, "a": A, "three": A}


def test_swish_only_of_one_tensor():
    net = Net()
    last = net.biased("c", "x")
    net.op("Sigmoid", "s", last)
    net.op("Mul", "swish", last, "s")
    other = net.biased("d", "x")
    net.op("Mul", "gate", other, "s")
    found = fixes(net.plan("swish", "gate"))
    assert (found["swish"], found["s"], found["gate"]) == (A, A, A)
    net = Net()
    net.op("Mul", "gate", net.biased("d", "x"), net.op("Sigmoid", "s", net.biased("c", "x")))
    assert {"s", "gate"}.isdisjoint(fixes(net.plan()))


def test_hard_swish_in_both_orders():
    for is_late in (False, True):
        net = Net()
        last = net.biased("c", "x")
        net.op("Relu6", "six", net.op("AddV2", "plus", last, net.const("three", 3)))
        sixth = net.const("sixth", 1 / 6)
        if is_late:
            net.op("Mul", "end", net.op("Mul", "inner", last, "six"), sixth)
            gate, end = "end/vitis_hard_sigmoid_mul", "inner"
        else:
            net.op("Mul", "end", last, net.op("Mul", "inner", "six", sixth))
            gate, end = "inner/vitis_hard_sigmoid_mul", "end"
        net.conv("d", "end")
        assert fixes(net.plan()) == CONV | {"c/bias": W, "c/add": A, gate: A, end: A, "d/k": W, "d": A}


def test_a_hard_sigmoid_times_itself_passes_for_a_hard_swish_that_waits_for_itself():
    net = Net()
    net.op("Relu6", "six", net.op("AddV2", "plus", net.pool("p", "x"), net.const("three", 3)))
    net.op("Mul", "h", "six", net.const("sixth", 1 / 6))
    net.op("Mul", "square", "h", "h")
    # All that is behind the second factor belongs to the group, also the pool.
    assert fixes(net.plan()) == {"x": A}


def test_leaky_relus_in_their_spellings():
    for has_layer in (False, True):
        net = Net()
        last = net.biased("c", "x") if has_layer else net.op("Tanh", "t", "x")
        net.op("Maximum", "leaky", net.op("Mul", "scaled", net.const("alpha", 0.1), last), last)
        # Without a layer it stays in float, as what it reads does.
        assert fixes(net.plan()) == (CONV | {"c/bias": W, "alpha": W, "leaky": A} if has_layer else {"x": A})
    net = Net()
    last = net.biased("c", "x")
    net.op("Relu", "n", net.op("Neg", "neg", last))
    net.op("Sub", "leaky", net.op("Relu", "p", last), net.op("Mul", "scaled", net.const("alpha", 0.1), "n"))
    found = fixes(net.plan())
    assert found == CONV | {"c/bias": W, "alpha": W, "leaky": A}


def test_depthwise_weights_have_a_mode_of_their_own():
    net = Net()
    net.conv("c", "x", kind="DepthwiseConv2dNative")
    net.op("Relu6", "r", "c")
    net.conv("d", "r", kind="DepthwiseConv2dNative")
    net.op("LeakyRelu", "l", "d", alpha=0.1)
    assert fixes(net.plan()) == {"x": A, "c/k": D, "r": A, "d/k": W, "l": A}


def test_atrous_convolutions():
    net = Net()
    block, pads = net.const("block", [2, 2], np.int32), net.const("pads", [[2, 2], [2, 2]], np.int32)
    types = {"Tblock_shape": tf.int32, "Tpaddings": tf.int32}
    net.op("SpaceToBatchND", "in", "x", block, pads, **types)
    net.conv("c", "in")
    net.op(
        "BatchToSpaceND",
        "out",
        "c",
        block,
        net.const("crops", [[0, 0], [0, 0]], np.int32),
        Tblock_shape=tf.int32,
        Tcrops=tf.int32,
    )
    net.op("Relu", "r", net.op("BiasAdd", "b", "out", net.weights("bias", 4)))
    made = net.plan()
    assert fixes(made) == CONV | {"bias": W, "r": A}
    assert [group.layer for group in made.places.groups] == ["c"]


def left_in_float(made: Plan) -> list[str]:
    """The layers of which a note says so."""
    notes = quantize(made, [{"x": np.ones((2, 8, 8, 4), np.float32)}]).notes
    return [note.split(":")[0] for note in notes if "leaves this layer in float" in note]


def transposed(net: Net, size: str, source: str = "x") -> str:
    attrs = {"strides": [1, 2, 2, 1], "padding": "SAME", "data_format": "NHWC"}
    return net.op("Conv2DBackpropInput", "up", size, net.weights("up/k", 3, 3, 4, 4), source, **attrs)


def test_transposed_convolutions_by_how_their_size_is_given():
    net = Net((1, 8, 8, 4))
    transposed(net, net.const("size", [1, 16, 16, 4], np.int32))
    assert fixes(net.plan()) == {"x": A, "up/k": W, "up": A}
    net = Net()
    ends = [net.const(f"e{i}", [i], np.int32) for i in (0, 1, 2)]
    net.op("Shape", "shape", "x", out_type=tf.int32)
    net.put_int("StridedSlice", "n", "shape", ends[0], ends[1], ends[1])
    sizes = [net.const(f"s{i}", value, np.int32) for i, value in enumerate((16, 16, 4))]
    net.put_int("Pack", "size", "n", *sizes)
    transposed(net, "size")
    # The form of TensorFlow 2: none of its own.
    assert fixes(net.plan()) == {"x": A}
    assert left_in_float(net.plan()) == ["up"]
    assert left_in_float(net.plan(ignore_nodes=("up",))) == []


def test_an_inner_node_as_input():
    net = Net()
    net.op("Relu", "r0", net.biased("c0", "x"))
    net.biased("c", "r0")
    made = net.plan(inputs=["r0"])
    assert fixes(made) == {"r0": A, "c/k": W, "c/bias": W, "c/add": A}
    assert int(made.places.fixes["r0"].method) == 0
    named = {item.name: item for item in made.nodes}
    assert named["r0"].op == "Relu"
    assert named["c"].inputs == ("r0/aquant", "c/k/wquant")


def test_a_whole_number_input_is_cast_and_the_cast_quantized():
    net = Net(dtype=tf.uint8)
    net.put_cast("cast", "x", tf.uint8)
    net.biased("c", "cast")
    made = net.plan()
    assert fixes(made) == {"cast": A, "c/k": W, "c/bias": W, "c/add": A}
    assert int(made.places.fixes["cast"].method) == 1


def test_a_graph_in_double_precision_has_no_places():
    net = Net(dtype=tf.float64)
    net.nodes.append(net.nodes.pop())
    kernel = net.const("k", np.ones((1, 1, 4, 4)), np.float64)
    net.op("Conv2D", "c", "x", kernel, T=tf.float64, strides=[1, 1, 1, 1], padding="SAME")
    assert fixes(net.plan()) == {}


def test_ignored_nodes_and_what_reads_them():
    net = Net()
    net.op("Relu", "r0", net.biased("c0", "x"))
    net.op("AddV2", "a", "r0", "x")
    net.conv("c1", "a")
    everything = fixes(net.plan())
    # The whole pattern of a node is left; the sum then reads what is not quantized, but a layer wants it.
    left = fixes(net.plan(ignore_nodes=("c0/add",)))
    assert everything.keys() - left.keys() == {"c0/k", "c0/bias", "r0"}
    assert "a" in left
    assert fixes(net.plan(ignore_nodes=("c1",))).keys() == everything.keys() - {"c1", "c1/k"}


def test_bits_and_methods_of_single_nodes():
    net = Net()
    net.op("Relu", "r0", net.biased("c0", "x"))
    net.conv("c1", "r0")
    made = net.plan(nodes_bit={"c0": 4, "r0": 6, "c1": 5, "c0/add": 3}, nodes_method={"c0": 0, "r0": 2, "x": 1})
    found = made.places.fixes
    assert {name: fix.bits for name, fix in found.items()} == {
        "x": 8, "c0/k": 4, "c0/bias": 8, "r0": 6, "c1/k": 8,
        # A layer without bias and relu gives the result itself: its own name means that.
        "c1": 5,
    }  # fmt: skip
    assert {name: int(found[name].method) for name in ("x", "c0/k", "r0")} == {"x": 1, "c0/k": 0, "r0": 1}
    assert [note.split(":")[0] for note in made.places.notes] == ["c0/add"]


def test_bits_and_methods_of_nodes_that_the_quantizer_makes():
    net = Net()
    net.mean("m", net.biased("c", "x"), keep_dims=False)
    net.op("Softmax", "s", "m")
    made = net.plan(nodes_bit={"m/mul": 6}, nodes_method={"m/squeeze": 0})
    found = made.places.fixes
    assert (found["m/mul"].bits, int(found["m/squeeze"].method)) == (6, 0)
    assert not made.places.notes
    with pytest.raises(StageError, match="no node 'm/factor'"):
        net.plan(nodes_bit={"m/factor": 6})


def test_a_layer_behind_an_output_that_is_an_identity():
    net = Net()
    net.op("Identity", "out", net.biased("c", "x"))
    net.conv("d", "out")
    found = fixes(net.plan("out", "d"))
    assert found == CONV | {"c/bias": W, "c/add": A, "d/k": W, "d": A}
