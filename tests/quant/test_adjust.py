"""Alignment and shifts, on positions that are given: each rule by itself, and their order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from nets import Net

from dnndk_prep.quant.calibration import Seen
from dnndk_prep.quant.network import const, node
from dnndk_prep.quant.settings import Settings
from dnndk_prep.quant.vai_q_tf1.adjust import Change, adjusted, dense_parts, growth
from dnndk_prep.quant.vendor import Plan, _unsaid


def after(made: Plan, **given: int) -> dict[str, int]:
    """The final positions by node, where `given` are those of calibration (__ for /), 5 of all others."""
    names = {fix.name: node_name for node_name, fix in made.places.fixes.items()}
    calibrated = {fix: given.get(name.replace("/", "__"), 5) for fix, name in names.items()}
    found, _ = adjusted(made.nodes, made.places.groups, made.prepared.outputs, made.settings, calibrated)
    return {names[fix]: position for fix, position in found.items()}


def concat(net: Net, name: str, *sources: str) -> str:
    return net.op("ConcatV2", name, *sources, net.const(f"{name}/axis", 3, np.int32), N=len(sources))


def two_concats() -> Net:
    net = Net()
    for name in ("a", "b"):
        net.op("Relu", f"r_{name}", net.biased(name, "x"))
    concat(net, "inner", "r_a", "r_b")
    concat(net, "outer", "inner", "r_b")
    return net


def test_what_is_concatenated_has_the_position_of_the_result():
    # r_b is in both, and the outer one comes last; the inner one had its position read before it changed.
    found = after(two_concats().plan(), r_a=3, r_b=4, inner=6, outer=7)
    assert {name: found[name] for name in ("r_a", "r_b", "inner", "outer")} == {
        "r_a": 6,
        "r_b": 7,
        "inner": 7,
        "outer": 7,
    }


def test_a_part_that_has_the_last_position_already_keeps_what_the_first_asked_for():
    found = after(two_concats().plan(), r_a=3, r_b=7, inner=6, outer=7)
    assert found["r_b"] == 6


@pytest.mark.parametrize(("align", "wanted"), [(0, (6, 7)), (1, (3, 7)), (2, (3, 6))])
def test_alignment_of_all_of_outputs_of_none(align: int, wanted: tuple[int, int]):
    found = after(two_concats().plan(align_concat=align), r_a=3, r_b=7, inner=6, outer=7)
    assert (found["r_a"], found["inner"]) == wanted


def test_alignment_goes_back_through_reshapes():
    net = Net()
    net.op("Relu", "r", net.biased("a", "x"))
    concat(net, "end", net.reshape("s", "r", -1, 8, 8, 4), "x")
    found = after(net.plan(), r=3, s=4, x=2, end=6)
    assert (found["r"], found["s"], found["x"]) == (6, 6, 6)


@pytest.mark.parametrize(("align", "wanted"), [(0, 2), (1, 5), (2, 5)])
@pytest.mark.parametrize("kind", ["MaxPool", "AvgPool"])
def test_what_is_pooled_has_the_position_of_the_result(kind: str, align: int, wanted: int):
    net = Net()
    net.op("Relu", "r", net.biased("a", "x"))
    net.op("Relu", "end", net.pool("p", "r", kind=kind))
    behind = "end" if kind == "MaxPool" else "p__mul"
    made = net.plan(align_pool=align)
    # The max pool belongs to the relu behind it, which is no pool.
    assert after(made, **{behind: 2})["r"] == (5 if kind == "MaxPool" else wanted)


def test_a_pool_that_is_an_output_and_chains_of_pools():
    net = Net()
    net.op("Relu", "r", net.biased("a", "x"))
    net.pool("second", net.pool("first", "r"))
    found = after(net.plan(align_pool=0), first=3, second=2)
    assert (found["r"], found["first"], found["second"]) == (3, 2, 2)
    found = after(net.plan(align_pool=1), first=3, second=2)
    assert (found["r"], found["first"]) == (5, 2)


@pytest.mark.parametrize(("pw", "wanted"), [(-5, -1), (-1, -1), (0, 0), (15, 15), (40, 15)])
def test_the_shift_of_the_sum_lies_in_0_to_16(pw: int, wanted: int):
    net = Net()
    net.op("Relu", "r", net.biased("a", "x"))
    assert after(net.plan(), x=7, r=6, a__k=pw)["a/k"] == wanted
    assert after(net.plan(adjust_shift_cut=0), x=7, r=6, a__k=pw)["a/k"] == pw


@pytest.mark.parametrize(("before", "after", "said"), [(28, 10, "zero"), (10, 4, ""), (8, 9, ""), (8, 14, "cut off")])
def test_weights_that_are_moved_far_are_told(before: int, after: int, said: str):
    net = Net()
    net.op("Relu", "r", net.biased("a", "x"))
    made = net.plan()
    seen = {name: Seen(Counter({0: 1})) for name in ("x/aquant", "a/k/wquant", "r/aquant")}
    notes = _unsaid(made, seen, [Change("adjust_shift_cut", "a/k/wquant", before, after)])
    assert [note.rpartition(" are ")[2] for note in notes if "the DPU's shift" in note] == ([said] if said else [])


@pytest.mark.parametrize(("pb", "wanted"), [(127, 23), (23, 23), (5, 5), (-4, -4), (-5, -4)])
def test_the_shift_of_the_bias(pb: int, wanted: int):
    # pw + pi = 12, shift_cut 5: the bias may be shifted by -11 to 16.
    net = Net()
    net.op("Relu", "r", net.biased("a", "x"))
    assert after(net.plan(), x=5, a__k=7, r=7, a__bias=pb)["a/bias"] == wanted
    assert after(net.plan(adjust_shift_bias=0), x=5, a__k=7, r=7, a__bias=pb)["a/bias"] == pb


def test_the_bias_is_shifted_against_weights_that_moved_already():
    net = Net()
    net.op("Relu", "r", net.biased("a", "x"))
    found = after(net.plan(), x=7, r=6, a__k=40, a__bias=127)
    # Weights at 15: shift_cut 16, so the bias may not be shifted to the right.
    assert (found["a/k"], found["a/bias"]) == (15, 22)


def test_the_kernels_size_may_decide_how_far_the_bias_is_shifted():
    net = Net()
    net.op("Relu", "r", net.biased("a", "x"))
    # 3 x 3 x 4 products: 6 bits, so 24 - 8 - 6 = 10 places.
    assert after(net.plan(adjust_shift_bias=2), x=5, a__k=7, r=7, a__bias=127)["a/bias"] == 22


def test_hard_sigmoids_have_seven_places_behind_the_point():
    net = Net()
    last = net.biased("c", "x")
    net.op("Relu6", "six", net.op("AddV2", "plus", last, net.const("three", 3)))
    net.conv("d", net.op("Mul", "h", "six", net.const("sixth", 1 / 6)))
    found = after(net.plan(), c__add=-2, h__vitis_hard_sigmoid_mul=6)
    assert (found["c/add"], found["h/vitis_hard_sigmoid_mul"]) == (0, 7)


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        (512, (8, 8, 8)),
        (1024, (8, 8, 16)),
        (7, None),
        (49, None),
        (210, (14, 3, 5)),
        (2 * 3 * 4099, None),
        (8, (2, 2, 2)),
    ],
)
def test_dense_inputs_as_height_width_and_channels(size: int, parts: tuple[int, int, int] | None):
    assert dense_parts(size) == parts


def test_the_growth_of_sums():
    assert growth(node("m", "MatMul"), const("k", np.zeros((512, 3), np.float32))) == 9
    assert growth(node("m", "MatMul"), const("k", np.zeros((49, 3), np.float32))) is None
    assert growth(node("c", "DepthwiseConv2dNative"), const("k", np.zeros((3, 3, 32, 1), np.float32))) == 9
    assert growth(node("c", "Conv3D"), const("k", np.zeros((3, 3, 3, 2, 2), np.float32))) is None
    assert Settings().changed() == {}
