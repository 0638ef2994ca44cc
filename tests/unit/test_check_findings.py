"""What the quantizer does unsaid: each finding where it is, and none where it is not."""

from __future__ import annotations

from typing import get_args

import pytest
from check_cases import activation, prelu
from check_networks import LAYER, Build, Make, checked

from dnndk_prep.check.findings import LOOKS
from dnndk_prep.config import FixName


def norm(b: Build, x: str, name: str | None = LAYER) -> str:
    return b.op("BiasAdd", b.op("Mul", x, b.weights(8), name=name), b.weights(8))


def pooled(b: Build) -> str:
    return b.op("Mean", b.biased(b.image()), b.ints(1, 2), name=LAYER)


def with_bias(b: Build, op: str, name: str) -> str:
    return b.op(op, b.conv(b.image()), b.weights(8, name=name), name=LAYER)


def residual(add: str, bias: bool) -> Make:
    def make(b: Build) -> None:
        x = b.op(add, b.biased(b.image()), b.biased(b.image()))
        y = b.conv(b.op("Relu", x), channels=(8, 8))
        b.biased(b.op(add, b.op("BiasAdd", y, b.weights(8)) if bias else y, x, name=LAYER), channels=(8, 8))

    return make


def leaky(product_first: bool) -> Make:
    def make(b: Build) -> None:
        x, slope = b.biased(b.image()), b.const(0.1)
        scaled = b.op("Mul", *((x, slope) if product_first else (slope, x)))
        b.op("Maximum", scaled, x, name=LAYER)

    return make


def upward(fixed: bool) -> Make:
    def make(b: Build) -> None:
        image = b.image(8, 8, batch=1)
        size = b.ints(1, 16, 16, 8) if fixed else b.op("Pack", *[b.ints(16)] * 4, dtype="int32")
        b.op(
            "Conv2DBackpropInput", size, b.weights(2, 2, 8, 8), image, name=LAYER, strides=[1, 2, 2, 1], padding="SAME"
        )

    return make


def shared(times: int) -> Make:
    def make(b: Build) -> None:
        x, kernel = b.image(8, 8), b.weights(1, 1, 8, 8)
        for n in range(times):
            x = b.op("Conv2D", x, kernel, name=LAYER if n == 0 else None, strides=[1] * 4, padding="SAME")

    return make


def multiplied(times: int) -> Make:
    def make(b: Build) -> None:
        x = b.conv(b.image(8, 4), kind="DepthwiseConv2dNative", channels=(4, times), name=LAYER)
        b.op("FusedBatchNorm", x, *[b.weights(4 * times)] * 4)

    return make


def named(*names: str) -> Make:
    def make(b: Build) -> None:
        x = b.image()
        for name in names:
            x = b.op("Relu", x, name=name)

    return make


def with_leftover(leftover: bool) -> Make:
    def make(b: Build) -> tuple[str, ...]:
        if leftover:
            b.input(name=LAYER)
            b.inputs.remove(LAYER)
        return (b.op("Relu", b.biased(b.image())),)

    return make


# Finding, where it is, where it is not, family.
CASES: tuple[tuple[str, Make, Make, str], ...] = (
    ("output_on_pool", pooled, lambda b: b.op("MatMul", pooled(b), b.weights(8, 4)), "tf1"),
    (
        "relu_ceiling",
        lambda b: b.op("Minimum", b.op("Relu", b.biased(b.image())), b.const(1.0), name=LAYER),
        lambda b: b.op("Minimum", b.op("Relu", b.biased(b.image())), b.const(6.0), name=LAYER),
        "tf1",
    ),
    ("depthwise_multiplier", multiplied(2), multiplied(1), "tf1"),
    ("bias_before_add", residual("Add", False), residual("AddV2", False), "tf1"),
    ("bias_before_add", residual("Add", False), residual("Add", True), "tf1"),
    ("bias_name", lambda b: with_bias(b, "AddV2", "offset"), lambda b: with_bias(b, "AddV2", "my_bias"), "tf1"),
    ("bias_name", lambda b: with_bias(b, "AddV2", "offset"), lambda b: with_bias(b, "BiasAdd", "offset"), "tf1"),
    (
        "float64",
        lambda b: b.op("Relu", b.image(), name=LAYER, dtype="float64"),
        lambda b: b.op("Relu", b.image(), name=LAYER),
        "tf1",
    ),
    ("leftover_placeholder", with_leftover(True), with_leftover(False), "tf1"),
    (
        "left_batch_norm",
        lambda b: norm(b, b.op("Relu", b.biased(b.image()))),
        lambda b: b.op("Relu", b.biased(b.image())),
        "tf1",
    ),
    (
        "rescaling",
        lambda b: b.conv(b.op("Mul", b.image(), b.const(1 / 255), name=LAYER)),
        lambda b: b.conv(b.op("Relu", b.image(), name=LAYER)),
        "tf2",
    ),
    ("standalone_relu", activation("Relu", "concat"), activation("Relu", "conv"), "tf1"),
    ("leaky_slope", activation("LeakyRelu", alpha=0.3), activation("LeakyRelu", alpha=26 / 256), "tf1"),
    ("leaky_slope", prelu((-0.1,)), prelu((-26 / 256,)), "tf2"),
    ("leaky_form", leaky(True), leaky(False), "tf1"),
    ("transposed_batch", upward(False), upward(True), "tf1"),
    (
        "integer_concat",
        lambda b: b.op("ConcatV2", b.ints([1]), b.ints([2]), b.ints(0), name=LAYER, dtype="int32"),
        lambda b: b.op("ConcatV2", b.image(), b.image(), b.ints(3), name=LAYER),
        "tf1",
    ),
    (
        "mean_after_norm",
        lambda b: b.op("MatMul", b.op("Mean", norm(b, b.image(8, 8), None), b.ints(1, 2), name=LAYER), b.weights(8, 4)),
        lambda b: b.op(
            "MatMul",
            b.op("Mean", b.op("Relu", norm(b, b.image(8, 8), None)), b.ints(1, 2), name=LAYER),
            b.weights(8, 4),
        ),
        "tf1",
    ),
    ("same_file", named("a/b", "a_b"), named("a/b", "a_c"), "tf1"),
    (
        "channels_first",
        lambda b: b.op("MaxPool", b.image(), name=LAYER, data_format="NCHW", ksize=[1, 1, 2, 2], strides=[1, 1, 2, 2]),
        lambda b: b.pool(b.image(), "MaxPool", 2),
        "tf1",
    ),
    (
        "split_pool",
        lambda b: b.pool(b.image(64), "MaxPool", (16, 32)),
        lambda b: b.pool(b.image(64), "MaxPool", 22),
        "tf1",
    ),
    (
        "half_pixels",
        lambda b: b.op("ResizeBilinear", b.image(8, 8), b.ints(16, 16), name=LAYER, half_pixel_centers=True),
        lambda b: b.op("ResizeBilinear", b.image(8, 8), b.ints(16, 16), name=LAYER),
        "tf2",
    ),
    ("pool_scale", lambda b: b.pool(b.image(8), "AvgPool", 7), lambda b: b.pool(b.image(8), "AvgPool", 4), "tf2"),
    (
        "idle_channels",
        lambda b: b.conv(b.image(), channels=(3, 20), name=LAYER),
        lambda b: b.conv(b.image(), channels=(3, 24), name=LAYER),
        "tf1",
    ),
    (
        "hard_sigmoid",
        lambda b: b.op("Sigmoid", b.biased(b.image()), name=LAYER),
        lambda b: b.op("Tanh", b.biased(b.image()), name=LAYER),
        "tf2",
    ),
    (
        "quantized",
        lambda b: b.op("FixNeuron", b.image(), name=LAYER),
        lambda b: b.op("Relu", b.image(), name=LAYER),
        "tf1",
    ),
    (
        "input_dtype",
        lambda b: b.op("Cast", b.input(None, 8, 8, 3, dtype="uint8", name=LAYER)),
        lambda b: b.op("Relu", b.input(None, 8, 8, 3, name=LAYER)),
        "tf1",
    ),
    ("shared_layer", shared(2), shared(1), "tf2"),
    (
        "variables",
        lambda b: b.conv(b.op("Add", b.image(), b.op("VariableV2", name=LAYER))),
        lambda b: b.conv(b.op("Add", b.image(), b.const(1.0))),
        "tf1",
    ),
    (
        "fixed_batch",
        lambda b: b.op("Relu", b.biased(b.input(4, 8, 8, 3, name=LAYER))),
        lambda b: b.op("Relu", b.biased(b.input(None, 8, 8, 3, name=LAYER))),
        "tf1",
    ),
)


def joined(b: Build, op: str) -> str:
    return b.op("FusedBatchNorm", b.op(op, b.biased(b.image()), b.conv(b.image())), *[b.weights(8)] * 4, name=LAYER)


def branches(b: Build) -> str:
    return b.op("ConcatV2", b.biased(b.image()), b.biased(b.image()), b.ints(3))


# Finding, a network that has it, what mends it in optimize_for_inference.fixes; None where nothing does.
FIXABLE: tuple[tuple[str, Make, str | None], ...] = (
    ("bias_before_add", residual("Add", False), "zero_bias"),
    ("output_on_pool", pooled, "later_output"),
    ("relu_ceiling", lambda b: b.op("Minimum", b.op("Relu", b.biased(b.image())), b.const(1.0)), "clip"),
    ("rescaling", lambda b: b.conv(b.op("Mul", b.image(), b.const(1 / 255))), "cut_rescaling"),
    ("standalone_relu", lambda b: b.op("Relu", branches(b)), "early_relu"),
    ("standalone_relu", lambda b: b.op("Relu", b.op("ConcatV2", b.image(), b.image(), b.ints(3))), None),
    ("leaky_slope", activation("LeakyRelu", alpha=0.1), "leaky_26_256"),
    ("leaky_slope", activation("LeakyRelu", alpha=0.3), "leaky_26_256"),
    ("mean_after_norm", lambda b: b.op("Mean", norm(b, b.image(8, 8), None), b.ints(1, 2)), "norm_behind_mean"),
    ("left_batch_norm", lambda b: joined(b, "AddV2"), "norm_before_add"),
    ("left_batch_norm", lambda b: norm(b, b.op("Relu", b.biased(b.image()))), None),
)


@pytest.mark.parametrize(("finding", "make", "fix"), FIXABLE)
def test_a_finding_names_what_mends_it(finding, make, fix):
    result = checked(make)
    (found,) = [item for item in result.findings if item.finding == finding]
    assert (found.fix, found.exact) == (fix, fix not in (None, "leaky_26_256"))
    assert (f"optimize_for_inference.fixes: [{fix}]" in result.as_text().replace("\n" + 13 * " ", " ")) == (
        fix is not None
    )


def test_every_fix_is_named_by_a_finding():
    assert {fix for _, _, fix in FIXABLE} - {None} == set(get_args(FixName))


@pytest.mark.parametrize(("finding", "make", "without", "family"), CASES, ids=[case[0] for case in CASES])
def test_it_is_said_where_it_is(finding, make, without, family):
    found = [item for item in checked(make, family=family).findings if item.finding == finding]
    assert LAYER in [item.node for item in found] or finding == "same_file"
    assert all(item.what and item.remedy for item in found)
    assert finding not in [item.finding for item in checked(without, family=family).findings]


def test_every_finding_has_a_case():
    there = {look.__name__ for looks in LOOKS.values() for look in looks}
    assert there - {case[0] for case in CASES} == {"extra_output"}


def test_what_nothing_reads_is_named():
    def make(b: Build) -> tuple[str, ...]:
        x = b.biased(b.image())
        b.op("Tanh", x, name=LAYER)
        return (b.op("Relu", x),)

    found = [item for item in checked(make).findings if item.finding == "extra_output"]
    assert [item.node for item in found] == [LAYER]


@pytest.mark.parametrize(("family", "severity"), [("tf1", "info"), ("tf2", "warning")])
def test_each_quantizer_has_its_own_idea_of_a_slope_of_0_1(family, severity):
    (found,) = [
        item
        for item in checked(activation("LeakyRelu", alpha=0.100005), family=family).findings
        if item.finding == "leaky_slope"
    ]
    assert found.severity == severity


def test_the_worst_comes_first():
    found = checked(lambda b: b.op("Mean", b.op("Relu", b.op("Mul", b.image(7), b.const(0.5))), b.ints(1, 2))).findings
    assert [item.severity for item in found] == ["error", "warning", "info"]


def test_a_batch_norm_behind_relu_is_to_be_moved():
    found = checked(lambda b: norm(b, b.op("Relu", b.biased(b.image())))).findings
    assert "move BN before ReLU" in next(item.remedy for item in found if item.finding == "left_batch_norm")


def test_warnings_fail_only_where_asked():
    result = checked(lambda b: b.op("Relu", b.biased(b.op("Mul", b.image(), b.const(0.5)))))
    assert result.fails("cpu") is None
    assert "rescaling" in (result.fails("warning") or "")
    on_cpu = checked(lambda b: b.op("Tanh", b.image(), name=LAYER))
    assert LAYER in (on_cpu.fails("cpu") or "")
    assert LAYER in (on_cpu.fails("warning") or "")
