"""Which operations between layers have a Keras 2 form, as tables: of Keras 3, and of TensorFlow in Keras 2.4 - 2.15."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ANY_VALUE = object()


@dataclass(frozen=True)
class Form:
    """How a Keras writes an operation.

    op: its name in op_functions.COMPUTE. arguments: what its arguments are called there, by the name in the file; the
    first ones are positional, in this order. fixed: arguments that COMPUTE lacks, with the only value that they may
    have.
    """

    op: str
    arguments: Mapping[str, str]
    fixed: Mapping[str, Any] = field(default_factory=dict)


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_X = {"x": "x"}
_REDUCED = {**_X, **_same("axis", "keepdims")}
_POOL = {**_X, **_same("pool_size", "strides", "padding")}
_LAST = {"data_format": ("channels_last", None)}
_ANY_NAME = {"name": ANY_VALUE}
_FLOATS = {"dtype": (None,)}

# The class in keras.src.ops -> its form. Keras 3 writes every option, so that its defaults need not be known here.
KERAS3: Mapping[str, Form] = {
    **{
        name: Form(op, {"x1": "a", "x2": "b"})
        for name, op in {
            **{"Add": "add", "Subtract": "subtract", "Multiply": "multiply", "TrueDivide": "keras3_divide"},
            **{"Divide": "keras3_divide", "Power": "power", "Maximum": "maximum", "Minimum": "minimum"},
            **{"Matmul": "keras3_matmul", "Equal": "equal", "NotEqual": "not_equal", "Greater": "greater"},
            **{"GreaterEqual": "greater_equal", "Less": "less", "LessEqual": "less_equal"},
            **{"LogicalAnd": "logical_and", "LogicalOr": "logical_or"},
        }.items()
    },
    **{
        name: Form(op, _X)
        for name, op in {
            **{"Negative": "negative", "Absolute": "absolute", "Abs": "absolute", "Square": "square", "Sqrt": "sqrt"},
            **{"LogicalNot": "logical_not", "Reciprocal": "reciprocal"},
            **{"Rsqrt": "rsqrt", "Exp": "exp", "Log": "log", "Tanh": "tanh", "Sign": "sign", "Relu": "relu"},
            **{"Relu6": "relu6", "Sigmoid": "sigmoid", "Silu": "silu", "Softplus": "softplus", "Selu": "selu"},
            **{"Softsign": "softsign", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu"},
        }.items()
    },
    "Elu": Form("elu", {**_X, "alpha": "alpha"}),
    "LeakyRelu": Form("leaky_relu", {**_X, "negative_slope": "alpha"}),
    "Gelu": Form("gelu", {**_X, "approximate": "approximate"}),
    "Softmax": Form("keras3_softmax", {**_X, "axis": "axis"}),
    "LogSoftmax": Form("keras3_log_softmax", {**_X, "axis": "axis"}),
    "Mean": Form("keras3_mean", _REDUCED),
    "Var": Form("variance", _REDUCED),
    "Std": Form("deviation", _REDUCED),
    "Sum": Form("keras3_sum", _REDUCED),
    "Prod": Form("keras3_product", _REDUCED, {"dtype": (None,)}),
    "All": Form("all", _REDUCED),
    "Any": Form("any", _REDUCED),
    "Max": Form("max", _REDUCED, {"initial": (None,)}),
    "Min": Form("min", _REDUCED, {"initial": (None,)}),
    "Argmax": Form("keras3_argmax", {**_X, "axis": "axis"}, {"keepdims": (False,)}),
    "Clip": Form("clip", {**_X, "x_min": "low", "x_max": "high"}),
    "Reshape": Form("reshape", {**_X, "newshape": "shape"}),
    "Transpose": Form("transpose", {**_X, "axes": "order"}),
    "Swapaxes": Form("swap_axes", {**_X, "axis1": "first", "axis2": "second"}),
    "ExpandDims": Form("expand_dims", {**_X, "axis": "axis"}),
    "Squeeze": Form("squeeze", {**_X, "axis": "axis"}),
    "Concatenate": Form("concatenate", {"xs": "tensors", "axis": "axis"}),
    "Stack": Form("stack", {"x": "tensors", "axis": "axis"}),
    "Where": Form("where", {"condition": "condition", "x1": "a", "x2": "b"}),
    "ZerosLike": Form("zeros_like", _X, _FLOATS),
    "OnesLike": Form("ones_like", _X, _FLOATS),
    "Split": Form("split", {**_X, "indices_or_sections": "sections", "axis": "axis"}),
    "Unstack": Form("unstack", {**_X, "num": "count", "axis": "axis"}),
    "GetItem": Form("get_item", {**_X, "key": "key"}),
    "Pad": Form("pad", {**_X, "pad_width": "width", "constant_values": "value", "mode": "mode"}),
    "Tile": Form("tile", {**_X, "repeats": "repeats"}),
    "Flip": Form("flip", {**_X, "axis": "axis"}),
    "Cast": Form("cast", {**_X, "dtype": "dtype"}),
    "StopGradient": Form("identity", {"variable": "x"}),
    "Resize": Form(
        "keras3_resize",
        {"images": "x", "size": "size", "interpolation": "method"},
        {
            **dict.fromkeys(("antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio"), (False,)),
            # How the padding is filled, which is not allowed.
            **dict.fromkeys(("fill_mode", "fill_value"), ANY_VALUE),
            **_LAST,
        },
    ),
    "MaxPool": Form("max_pool", _POOL, _LAST),
    "AveragePool": Form("average_pool", _POOL, _LAST),
}

# The function as TFOpLambda names it -> its form. What the file leaves out has TensorFlow's default in COMPUTE.
TENSORFLOW: Mapping[str, Form] = {
    **{
        name: Form(op, {"x": "a", "y": "b"}, _ANY_NAME)
        for name, op in {
            **{"math.add": "add", "__operators__.add": "add", "math.subtract": "subtract"},
            **{"math.multiply": "multiply", "math.truediv": "divide", "math.divide": "divide", "math.pow": "power"},
            **{"math.maximum": "maximum", "math.minimum": "minimum", "math.squared_difference": "squared_difference"},
            **{"math.greater": "greater", "math.greater_equal": "greater_equal", "math.less": "less"},
            **{"math.less_equal": "less_equal", "math.equal": "equal", "math.not_equal": "not_equal"},
            **{"math.logical_and": "logical_and", "math.logical_or": "logical_or"},
        }.items()
    },
    **{
        name: Form(op, {("features" if name.startswith("nn.") else "x"): "x"}, _ANY_NAME)
        for name, op in {
            **{"math.negative": "negative", "math.abs": "absolute", "math.square": "square", "math.sqrt": "sqrt"},
            **{"math.logical_not": "logical_not", "math.reciprocal": "reciprocal"},
            **{"math.rsqrt": "rsqrt", "math.exp": "exp", "math.log": "log", "math.tanh": "tanh", "math.sign": "sign"},
            **{"math.sigmoid": "sigmoid", "math.softplus": "softplus", "nn.relu": "relu", "nn.relu6": "relu6"},
            **{"nn.elu": "elu", "nn.selu": "selu", "nn.softsign": "softsign"},
        }.items()
    },
    **{
        f"math.reduce_{name}": Form(op, {"input_tensor": "x", **_same("axis", "keepdims")}, _ANY_NAME)
        for name, op in {
            **{"mean": "mean", "sum": "sum", "max": "max", "min": "min", "prod": "product", "variance": "variance"},
            **{"std": "deviation", "any": "any", "all": "all"},
        }.items()
    },
    **{
        name: Form(op, {"value": "x", "ksize": "pool_size", **_same("strides", "padding")}, fixed)
        for name, op, fixed in [
            ("nn.max_pool2d", "max_pool", {"data_format": ("NHWC",), **_ANY_NAME}),
            ("nn.avg_pool2d", "average_pool", {"data_format": ("NHWC",), **_ANY_NAME}),
        ]
    },
    "linalg.matmul": Form(
        "matmul",
        _same("a", "b", "transpose_a", "transpose_b"),
        {
            **_ANY_NAME,
            **dict.fromkeys(("adjoint_a", "adjoint_b", "a_is_sparse", "b_is_sparse"), (False,)),
            "output_type": (None,),
        },
    ),
    "math.add_n": Form("add_n", {"inputs": "tensors"}, _ANY_NAME),
    "nn.silu": Form("silu", {"features": "x"}, {"beta": (1.0,)}),
    "nn.swish": Form("silu", {"features": "x"}, {"beta": (1.0,)}),
    "nn.leaky_relu": Form("leaky_relu", {"features": "x", "alpha": "alpha"}, _ANY_NAME),
    "nn.gelu": Form("gelu", {"features": "x", "approximate": "approximate"}, _ANY_NAME),
    "nn.softmax": Form("softmax", {"logits": "x", "axis": "axis"}, _ANY_NAME),
    "nn.log_softmax": Form("log_softmax", {"logits": "x", "axis": "axis"}, _ANY_NAME),
    "math.l2_normalize": Form("l2_normalize", {**_X, **_same("axis", "epsilon")}, {**_ANY_NAME, "dim": (None,)}),
    "math.argmax": Form("argmax", {"input": "x", "axis": "axis", "output_type": "dtype"}, _ANY_NAME),
    "clip_by_value": Form("clip", {"t": "x", "clip_value_min": "low", "clip_value_max": "high"}, _ANY_NAME),
    "reshape": Form("reshape", {"tensor": "x", "shape": "shape"}, _ANY_NAME),
    "compat.v1.transpose": Form("transpose", {"a": "x", "perm": "order"}, {**_ANY_NAME, "conjugate": (False,)}),
    "transpose": Form("transpose", {"a": "x", "perm": "order"}, {**_ANY_NAME, "conjugate": (False,)}),
    "expand_dims": Form("expand_dims", {"input": "x", "axis": "axis"}, _ANY_NAME),
    "compat.v1.squeeze": Form("squeeze", {"input": "x", "axis": "axis"}, {**_ANY_NAME, "squeeze_dims": (None,)}),
    "squeeze": Form("squeeze", {"input": "x", "axis": "axis"}, _ANY_NAME),
    "concat": Form("concatenate", {"values": "tensors", "axis": "axis"}, _ANY_NAME),
    "where": Form("where", {"condition": "condition", "x": "a", "y": "b"}, _ANY_NAME),
    "zeros_like": Form("zeros_like", {"input": "x"}, {**_FLOATS, **_ANY_NAME, "layout": (None,)}),
    "ones_like": Form("ones_like", {"input": "x"}, {**_FLOATS, **_ANY_NAME, "layout": (None,)}),
    "stack": Form("stack", {"values": "tensors", "axis": "axis"}, _ANY_NAME),
    "split": Form(
        "split_sizes", {"value": "x", "num_or_size_splits": "sections", "axis": "axis"}, {**_ANY_NAME, "num": (None,)}
    ),
    "unstack": Form("unstack", {"value": "x", "num": "count", "axis": "axis"}, _ANY_NAME),
    **{
        name: Form(
            "pad",
            {"tensor": "x", "paddings": "width", "constant_values": "value", "mode": "mode"},
            _ANY_NAME,
        )
        for name in ("pad", "compat.v1.pad")
    },
    "tile": Form("tile", {"input": "x", "multiples": "repeats"}, _ANY_NAME),
    "image.resize": Form(
        "resize",
        {"images": "x", **_same("size", "method")},
        {**_ANY_NAME, **dict.fromkeys(("preserve_aspect_ratio", "antialias"), (False,))},
    ),
    "reverse": Form("flip", {"tensor": "x", "axis": "axis"}, _ANY_NAME),
    "cast": Form("cast", {**_X, "dtype": "dtype"}, _ANY_NAME),
    "identity": Form("identity", {"input": "x"}, _ANY_NAME),
    "stop_gradient": Form("identity", {"input": "x"}, _ANY_NAME),
    "nn.depth_to_space": Form(
        "depth_to_space", {"input": "x", "block_size": "size"}, {**_ANY_NAME, "data_format": ("NHWC",)}
    ),
    "nn.space_to_depth": Form(
        "space_to_depth", {"input": "x", "block_size": "size"}, {**_ANY_NAME, "data_format": ("NHWC",)}
    ),
    "__operators__.getitem": Form("get_item", {"x": "x", "slice_spec": "key"}),
}
