"""Operations between layers, such as x * 0.5, keras.ops.relu(x) and tf.concat: which of them have a Keras 2 form.

Keras 3 writes them as members of their own, Keras 2.4 - 2.15 as TFOpLambda and SlicingOpLambda. Both become the layer
`Operation` of keras_io.op_layer. A name in the file is looked up in the tables below and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Config = dict[str, Any]

OPERATION = "Operation"
TF_LAMBDAS = ("TFOpLambda", "SlicingOpLambda")
CONSTANT = "_CONSTANT_VALUE"
ANY_VALUE = object()


@dataclass(frozen=True)
class Form:
    """How a Keras writes an operation.

    op: its name in op_layer.COMPUTE. arguments: what its arguments are called there, by the name in the file; the first
    ones are positional, in this order. fixed: arguments that COMPUTE lacks, with the only value that they may have.
    """

    op: str
    arguments: Mapping[str, str]
    fixed: Mapping[str, Any] = field(default_factory=dict)


class NoFormError(Exception):
    """The operation, or the way it is called, is not in the tables; the text says what."""


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_X = {"x": "x"}
_REDUCED = {**_X, **_same("axis", "keepdims")}
_POOL = {**_X, **_same("pool_size", "strides", "padding")}
_LAST = {"data_format": ("channels_last", None)}
_ANY_NAME = {"name": ANY_VALUE}

# The class in keras.src.ops -> its form. Keras 3 writes every option, so that its defaults need not be known here.
KERAS3: Mapping[str, Form] = {
    **{
        name: Form(op, {"x1": "a", "x2": "b"})
        for name, op in {
            **{"Add": "add", "Subtract": "subtract", "Multiply": "multiply", "TrueDivide": "divide"},
            **{"Divide": "divide", "Power": "power", "Maximum": "maximum", "Minimum": "minimum", "Matmul": "matmul"},
        }.items()
    },
    **{
        name: Form(op, _X)
        for name, op in {
            **{"Negative": "negative", "Absolute": "absolute", "Abs": "absolute", "Square": "square", "Sqrt": "sqrt"},
            **{"Rsqrt": "rsqrt", "Exp": "exp", "Log": "log", "Tanh": "tanh", "Sign": "sign", "Relu": "relu"},
            **{"Relu6": "relu6", "Sigmoid": "sigmoid", "Silu": "silu", "Softplus": "softplus", "Selu": "selu"},
            **{"Softsign": "softsign", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu"},
        }.items()
    },
    "Elu": Form("elu", {**_X, "alpha": "alpha"}),
    "LeakyRelu": Form("leaky_relu", {**_X, "negative_slope": "alpha"}),
    "Gelu": Form("gelu", {**_X, "approximate": "approximate"}),
    "Softmax": Form("softmax", {**_X, "axis": "axis"}),
    "LogSoftmax": Form("log_softmax", {**_X, "axis": "axis"}),
    "Mean": Form("mean", _REDUCED),
    "Var": Form("variance", _REDUCED),
    "Sum": Form("sum", _REDUCED),
    "Prod": Form("product", _REDUCED, {"dtype": (None,)}),
    "Max": Form("max", _REDUCED, {"initial": (None,)}),
    "Min": Form("min", _REDUCED, {"initial": (None,)}),
    "Argmax": Form("argmax", {**_X, "axis": "axis"}, {"keepdims": (False,)}),
    "Clip": Form("clip", {**_X, "x_min": "low", "x_max": "high"}),
    "Reshape": Form("reshape", {**_X, "newshape": "shape"}),
    "Transpose": Form("transpose", {**_X, "axes": "order"}),
    "Swapaxes": Form("swap_axes", {**_X, "axis1": "first", "axis2": "second"}),
    "ExpandDims": Form("expand_dims", {**_X, "axis": "axis"}),
    "Squeeze": Form("squeeze", {**_X, "axis": "axis"}),
    "Concatenate": Form("concatenate", {"xs": "tensors", "axis": "axis"}),
    "Stack": Form("stack", {"x": "tensors", "axis": "axis"}),
    "Split": Form("split", {**_X, "indices_or_sections": "sections", "axis": "axis"}),
    "Unstack": Form("unstack", {**_X, "num": "count", "axis": "axis"}),
    "GetItem": Form("get_item", {**_X, "key": "key"}),
    "Pad": Form("pad", {**_X, "pad_width": "width", "constant_values": "value"}, {"mode": ("constant",)}),
    "Tile": Form("tile", {**_X, "repeats": "repeats"}),
    "Flip": Form("flip", {**_X, "axis": "axis"}),
    "Cast": Form("cast", {**_X, "dtype": "dtype"}),
    "StopGradient": Form("identity", {"variable": "x"}),
    "Resize": Form(
        "resize",
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
            **{"math.maximum": "maximum", "math.minimum": "minimum"},
        }.items()
    },
    **{
        name: Form(op, {("features" if name.startswith("nn.") else "x"): "x"}, _ANY_NAME)
        for name, op in {
            **{"math.negative": "negative", "math.abs": "absolute", "math.square": "square", "math.sqrt": "sqrt"},
            **{"math.rsqrt": "rsqrt", "math.exp": "exp", "math.log": "log", "math.tanh": "tanh", "math.sign": "sign"},
            **{"math.sigmoid": "sigmoid", "math.softplus": "softplus", "nn.relu": "relu", "nn.relu6": "relu6"},
            **{"nn.elu": "elu", "nn.selu": "selu", "nn.softsign": "softsign"},
        }.items()
    },
    **{
        f"math.reduce_{name}": Form(op, {"input_tensor": "x", **_same("axis", "keepdims")}, _ANY_NAME)
        for name, op in {
            **{"mean": "mean", "sum": "sum", "max": "max", "min": "min", "prod": "product", "variance": "variance"},
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
        _same("a", "b"),
        {
            **_ANY_NAME,
            **dict.fromkeys(
                ("transpose_a", "transpose_b", "adjoint_a", "adjoint_b", "a_is_sparse", "b_is_sparse"), (False,)
            ),
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
    "stack": Form("stack", {"values": "tensors", "axis": "axis"}, _ANY_NAME),
    "split": Form(
        "split_sizes", {"value": "x", "num_or_size_splits": "sections", "axis": "axis"}, {**_ANY_NAME, "num": (None,)}
    ),
    "unstack": Form("unstack", {"value": "x", "num": "count", "axis": "axis"}, _ANY_NAME),
    **{
        name: Form(
            "pad",
            {"tensor": "x", "paddings": "width", "constant_values": "value"},
            {"mode": ("CONSTANT",), **_ANY_NAME},
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


def is_tensor(value: Any) -> bool:
    """Whether `value` is Keras 3's reference to what a call of a layer gave."""
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def is_reference(value: Any) -> bool:
    """Whether `value` is Keras 2's reference to what a call of a layer gave: [layer, call, tensor]."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and value[0] != CONSTANT
        and all(isinstance(number, int) for number in value[1:])
    )


def problem(layer: Config) -> str | None:
    """Why the operation `layer` has no Keras 2 form, in words; None if it has one."""
    try:
        if layer["class_name"] in TF_LAMBDAS:
            from_tensorflow(layer)
        elif layer["class_name"] == "TensorFlowOpLayer":
            return "the operation of a TensorFlowOpLayer"
        else:
            from_keras3(layer)
    except NoFormError as error:
        return str(error)
    return None


def from_keras3(layer: Config) -> tuple[Config, list[Any]]:
    """A Keras 3 operation as the config of the layer `Operation`, and the tensors it reads (Keras 3's references)."""
    kind, config = str(layer["class_name"]), layer["config"]
    form, node = KERAS3.get(kind), _only_call(layer)
    if form is None:
        raise NoFormError(f"the operation {kind}")
    options = {key: value for key, value in config.items() if key != "name"}
    given = {**dict(zip(form.arguments, node["args"], strict=False)), **options, **node["kwargs"]}
    if len(node["args"]) > len(form.arguments):
        raise NoFormError(f"the operation {kind} with {len(node['args'])} arguments")
    return _operation(config["name"], kind, form, given, is_tensor)


def from_tensorflow(layer: Config) -> tuple[Config, list[Any]]:
    """A TFOpLambda or SlicingOpLambda as the config of `Operation`, and the tensors it reads: [layer, call, tensor]."""
    config = layer["config"]
    function = str(config.get("function"))
    form, node = TENSORFLOW.get(function), _only_call(layer)
    if form is None:
        raise NoFormError(f"the operation {function}")
    several = bool(node) and isinstance(node[0], list) and isinstance(node[0][0], list)
    entries = node[0] if several else node
    if not all(isinstance(entry, list) and len(entry) == 4 and isinstance(entry[3], dict) for entry in entries):
        raise NoFormError(f"the operation {function} called in a way that is not known")
    first = [entry[2] if entry[0] == CONSTANT else entry[:3] for entry in entries]
    name = next(iter(form.arguments))
    takes_list = form.arguments[name] == "tensors"
    if len(first) != 1 and not takes_list:
        raise NoFormError(f"the operation {function} of {len(first)} tensors")
    given = {name: first if takes_list else first[0], **entries[0][3]}
    return _operation(config["name"], function, form, given, is_reference)


def without_tf_lambdas(layer: Config) -> Config:
    """A Keras 2 architecture whose TFOpLambda and SlicingOpLambda, in nested models, too, are `Operation` layers."""
    if layer.get("class_name") in TF_LAMBDAS:
        config, tensors = from_tensorflow(layer)
        calls = [[[*tensor, {}] for tensor in tensors]]
        return {"class_name": OPERATION, "name": layer.get("name"), "config": config, "inbound_nodes": calls}
    model = layer.get("config")
    if not isinstance(model, dict) or not isinstance(model.get("layers"), list):
        return layer
    return {**layer, "config": {**model, "layers": [without_tf_lambdas(member) for member in model["layers"]]}}


def _only_call(layer: Config) -> Any:
    calls = layer.get("inbound_nodes") or []
    if len(calls) != 1:
        raise NoFormError(f"the operation {layer['class_name']} called {len(calls)} times")
    # Of a single list argument Keras 2 writes one level less.
    call = calls[0]
    return [call] if isinstance(call, list) and call and isinstance(call[0], str) else call


def _operation(
    name: str, what: str, form: Form, given: Config, is_read: Callable[[Any], bool]
) -> tuple[Config, list[Any]]:
    values: Config = {}
    tensors: list[Any] = []
    for key, value in given.items():
        if key in form.arguments:
            values[form.arguments[key]] = _value(value, tensors, is_read, what)
        elif key not in form.fixed or (form.fixed[key] is not ANY_VALUE and value not in form.fixed[key]):
            raise NoFormError(f"the operation {what} with {key}: {value!r}")
    if not tensors:
        raise NoFormError(f"the operation {what} of no tensor")
    return {"name": name, "op": form.op, "values": values}, tensors


def _value(value: Any, tensors: list[Any], is_read: Callable[[Any], bool], what: str) -> Any:
    """`value` with {"tensor": its place in `tensors`} for each tensor, and one form of slices."""
    if is_read(value):
        if value not in tensors:
            tensors.append(value)
        return {"tensor": tensors.index(value)}
    if isinstance(value, list | tuple):
        return [_value(item, tensors, is_read, what) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config", value)
    if kind == "__ellipsis__":
        return {"ellipsis": True}
    if kind == "__numpy__":
        return {"array": config["value"], "dtype": config["dtype"]}
    if kind == "__slice__" or set(value) == {"start", "stop", "step"}:
        ends = [config["start"], config["stop"], config["step"]]
        if all(end is None or isinstance(end, int) for end in ends):
            return {"slice": ends}
    raise NoFormError(f"the operation {what} of {kind or value!r}")
