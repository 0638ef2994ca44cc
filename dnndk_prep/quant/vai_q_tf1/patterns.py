"""The groups of nodes that the quantizer knows, in the order in which it looks for them, and what of each it quantizes.

A node that an earlier pattern took, other than as its input or weight, is not taken again.
"""

from __future__ import annotations

from dataclasses import dataclass

from dnndk_prep.quant.matching import ANY, CONST, Match, Pattern, op

ADD = "Add AddV2"
BIAS_ADD = "BiasAdd Add AddV2"
RELU = "Relu Relu6"
# What may stand where a layer reads its weights or its bias.
WEIGHTS = op("Const Identity ReadVariableOp Mul", role="weights")
BIAS = op("Const Identity ReadVariableOp Sub Add AddV2", role="bias")
INPUT = ANY.named("input")
LONE = (
    "Maximum Max AvgPool MaxPool Mean Pad MirrorPad Transpose Concat ConcatV2 Squeeze Reshape ExpandDims Relu Relu6 "
    "AddN Sum Softmax"
)


@dataclass(frozen=True)
class Row:
    """A group of nodes: `end` gives its result; `weights`, `bias`, `alpha` are parameters, `input...` what it reads."""

    name: str
    pattern: Pattern
    # The roles whose nodes get a FixNeuron for activations.
    activations: tuple[str, ...] = ("end",)
    # Those that get one for parameters.
    parameters: tuple[str, ...] = ()
    # The nodes that the group computes for: what it reads gets a FixNeuron in any case.
    is_layer: bool = False
    # The quantizer tells depthwise weights apart here.
    knows_depthwise: bool = False

    def inputs(self, match: Match) -> list[str]:
        """The roles under which the match reads from other groups."""
        return [role for role in match.roles if role.startswith("input")]


def _end(pattern: Pattern) -> Pattern:
    return pattern.named("end")


def _biased(layer: Pattern) -> Pattern:
    return op(BIAS_ADD, layer, BIAS, role="add")


def _layers(name: str, layer: Pattern, knows_depthwise: bool = False) -> list[Row]:
    """A layer with bias and relu, with bias, with relu, alone."""
    biased = _biased(layer)
    rows = [
        (f"{name}_bias_relu", op(RELU, biased), ("weights", "bias")),
        (f"{name}_bias", biased, ("weights", "bias")),
        (f"{name}_relu", op(RELU, layer), ("weights",)),
        (name, layer, ("weights",)),
    ]
    return [
        Row(key, _end(pattern), parameters=parameters, is_layer=True, knows_depthwise=knows_depthwise)
        for key, pattern, parameters in rows
    ]


def _leaky(name: str, end: Pattern, has_alpha: bool, layer: str = "", knows_depthwise: bool = False) -> Row:
    parameters = {"": (), "convfc": ("weights",), "convfc_bias": ("weights", "bias")}[layer]
    given = (*parameters, "alpha") if has_alpha else parameters
    return Row(f"{layer}_{name}".strip("_"), _end(end), (("end",)), given, bool(layer), knows_depthwise)


def _maximum(source: Pattern) -> Pattern:
    return op("Maximum", op("Mul", CONST.named("alpha"), source.bare()), source)


def _relu_difference(source: Pattern) -> Pattern:
    negative = op("Relu", op("Neg"))
    return op("Sub", op("Relu", source), op("Mul", CONST.named("alpha"), negative))


CONVFC = op("Conv2D DepthwiseConv2d DepthwiseConv2dNative MatMul Conv3D", INPUT, WEIGHTS, role="layer")
ATROUS = op(
    "BatchToSpaceND",
    op(
        "Conv2D DepthwiseConv2dNative",
        op("SpaceToBatchND", INPUT, ANY, ANY),
        WEIGHTS,
        role="layer",
    ),
    ANY,
    ANY,
)
SLICE = op("StridedSlice", op("Shape Const"), CONST, CONST, CONST)
TIMES = op("Mul", op("StridedSlice"), CONST)
PLUS = op(ADD, TIMES, CONST)


def _transposed(size: Pattern) -> Pattern:
    return op("Conv2DBackpropInput", size, WEIGHTS, INPUT, role="layer")


GATE = op("Relu6", op(ADD, INPUT, CONST))
HARD_SIGMOID = op("Mul", op("Mul RealDiv", GATE, CONST), CONST)
# Its inner input is no input of the group: it has to be the outer one, else it was taken before.
HARD_SWISH_GATE = op("Mul", op("Mul RealDiv", op("Relu6", op(ADD, ANY, CONST)), CONST), CONST, role="gate")
BATCH_NORM = op(BIAS_ADD, op("Mul", INPUT, CONST.named("weights"), role="layer"), CONST.named("bias"))
PAIR = op(f"{ADD} Mul", ANY.named("input_1"), ANY.named("input_2"))
ONE = op(LONE)

LEAKY_LAYERS = {"convfc_bias": _biased(CONVFC), "convfc": CONVFC}
ROWS: tuple[Row, ...] = (
    Row("placeholder", _end(op("Placeholder"))),
    *_layers("atrous_conv", ATROUS),
    *(
        row
        for layer, source in LEAKY_LAYERS.items()
        for row in (
            _leaky("leakyrelu", _maximum(source), True, layer, knows_depthwise=True),
            _leaky("fused_leakyrelu", op("LeakyRelu", source), False, layer),
            _leaky("keras_leakyrelu", _relu_difference(source), True, layer, knows_depthwise=True),
        )
    ),
    _leaky("leakyrelu", _maximum(INPUT), True),
    _leaky("fused_leakyrelu", op("LeakyRelu", INPUT), False),
    _leaky("keras_leakyrelu", _relu_difference(INPUT), True),
    Row(
        "convfc_bias_id_relu",
        _end(op(RELU, op("Identity", _biased(CONVFC)))),
        parameters=("weights", "bias"),
        is_layer=True,
    ),
    *_layers("convfc", CONVFC, knows_depthwise=True),
    *_layers("conv2d_transpose", _transposed(op("Pack", SLICE, TIMES, TIMES, CONST))),
    *_layers("keras_conv2d_transpose", _transposed(op("Pack", SLICE, PLUS, PLUS, CONST))),
    *_layers("conv2d_backprop_input", _transposed(CONST)),
    Row("depth_to_space", _end(op("DepthToSpace"))),
    Row("resize", _end(op("ResizeBilinear ResizeNearestNeighbor", INPUT, ANY))),
    Row("hard_swish", _end(op("Mul", INPUT, HARD_SWISH_GATE)), ("end", "gate")),
    Row("hard_sigmoid", _end(HARD_SIGMOID)),
    Row("swish", _end(op("Mul", INPUT, op("Sigmoid", ANY, role="gate"))), ("end", "gate", "input")),
    Row(
        "tpu_nearest_neighbor_upsampling",
        _end(op("Reshape", op("Mul", op("Reshape", INPUT, op("Const Pack")), CONST), op("Const Pack"))),
    ),
    Row("batchnorm_relu", _end(op(RELU, BATCH_NORM)), parameters=("weights", "bias")),
    Row("batchnorm", _end(BATCH_NORM), parameters=("weights", "bias")),
    Row("avgpool_mul", _end(op("Mul", op("AvgPool"), CONST))),
    Row("array_relu", _end(op(RELU, PAIR))),
    Row("with_constant", _end(op(f"Mul {ADD}", INPUT, CONST.named("constant"))), ("end", "constant")),
    Row("constant_with", _end(op(f"Mul {ADD}", CONST.named("constant"), INPUT)), ("end", "constant")),
    Row("array", _end(PAIR)),
    Row("clip_by_value", _end(op("Maximum", op("Minimum", INPUT, ANY), ANY))),
    Row("strided_slice", _end(op("StridedSlice", INPUT, CONST, CONST, CONST))),
    Row("other_relu", _end(op(RELU, ONE.named("lone")))),
    Row("other", _end(ONE)),
)
# A convolution whose batch norm was left stays in float, with or without an Identity between.
UNTOUCHED = tuple(
    op("FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3", source, ANY, ANY, ANY, ANY)
    for layer in [op("Conv2D MatMul DepthwiseConv2dNative", role="layer")]
    for source in (layer, op("Identity", layer))
)
