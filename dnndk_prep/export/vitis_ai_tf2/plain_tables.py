"""What a layer of the library's Keras 2 models is in the Keras of the containers, as tables.

Held against the layers of Keras 2.8 and 2.12 themselves by tests/readers/test_keras2_tables.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dnndk_prep.keras_io.architecture import Config

# Layers that Keras 2.8 does not have, though today's Keras 2 has them.
NEWER_LAYERS = (
    *("EinsumDense", "GroupNormalization", "HashedCrossing", "RandomBrightness"),
    *("SpectralNormalization", "UnitNormalization"),
)
# Class -> key that Keras 2.8 or 2.12 does not know -> the value with which it computes what these compute without.
NEWER_KEYS: Mapping[str, Mapping[str, Any]] = {
    "AdditiveAttention": {"causal": False},
    "Attention": {"causal": False, "score_mode": "dot"},
    "BatchNormalization": {"synchronized": False},
    "Embedding": {"sparse": False},
    "InputLayer": {"optional": False},
    "MultiHeadAttention": {"softmax_robust_masking": False},
    "Normalization": {"invert": False},
    "Softmax": {"robust_masking": False},
    # Without it Keras 2.4 and later resize with half pixel centers.
    "UpSampling2D": {"half_pixel_centers": True},
}
# The same for Keras before 2.6, in Vitis AI 1.3 and 1.4; Keras 2.8 knows other values, too.
OLDER_KEYS: Mapping[str, Mapping[str, Any]] = {
    f"Global{kind}Pooling{rank}D": {"keepdims": False} for kind in ("Max", "Average") for rank in (1, 2, 3)
}
# What only training knows: another Keras may not know the class in it.
TRAINING_ENDS = ("_initializer", "_regularizer", "_constraint")

# Name in the library's models -> name in Keras 2.8.
ACTIVATIONS: Mapping[str, str] = {
    **{
        name: name
        for name in (
            *("linear", "relu", "elu", "selu", "softmax", "softplus", "softsign", "tanh", "sigmoid", "exponential"),
            *("gelu", "swish", "hard_sigmoid"),
        )
    },
    "silu": "swish",
    "softmax_v2": "softmax",
}
# Activations without a name in Keras 2.8 -> the operation of `COMPUTE` (keras_io.op_functions) that they are.
AS_OPERATION: Mapping[str, str] = {
    "keras3_relu6": "relu6",
    "relu6": "relu6",
    "keras3_hard_sigmoid": "hard_sigmoid",
    "keras3_hard_silu": "hard_silu",
    "keras3_leaky_relu": "leaky_relu",
    "keras3_log_softmax": "keras3_log_softmax",
    "log_softmax": "log_softmax",
    "mish": "mish",
}
# Layers that end with their activation, so that it may stand in a layer after them.
ENDS_WITH_ACTIVATION = (
    *("Dense", "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
)

# The quantizer writes two convolutions in place of this, and forgets the activation (vai_q_tensorflow2 3.5, measured):
# it stands in a layer after it.
LOSES_ACTIVATION = ("SeparableConv2D",)

# A layer after another, both of one tensor: class and settings.
Layers = list[tuple[str, Config]]


def relu6(_: Config) -> Layers:
    return [("ReLU", {"max_value": 6.0, "negative_slope": 0.0, "threshold": 0.0})]


def activation(name: str) -> Callable[[Config], Layers]:
    return lambda _: [("Activation", {"activation": name})]


def _clip(values: Config) -> Layers | None:
    low, high = values["low"], values["high"]
    is_relu = low == 0 and isinstance(high, int | float) and high > 0
    return [("ReLU", {"max_value": float(high), "negative_slope": 0.0, "threshold": 0.0})] if is_relu else None


def _elu(values: Config) -> Layers:
    alpha = values.get("alpha", 1.0)
    return activation("elu")(values) if alpha == 1 else [("ELU", {"alpha": alpha})]


def _gelu(values: Config) -> Layers | None:
    # The activation of Keras 2 is the exact one.
    return None if values.get("approximate") else activation("gelu")(values)


def _softmax(values: Config) -> Layers | None:
    axis = values.get("axis", -1)
    return None if axis is None else [("Softmax", {"axis": axis})]


def _global_pooling(kind: str) -> Callable[[Config], Layers | None]:
    def layers(values: Config) -> Layers | None:
        axis, keepdims = values.get("axis"), bool(values.get("keepdims"))
        axes = sorted([axis] if isinstance(axis, int) else axis or [])
        rank = {(1,): 1, (-2,): 1, (1, 2): 2, (-3, -2): 2, (1, 2, 3): 3}.get(tuple(axes))
        config = {"data_format": "channels_last", **({"keepdims": True} if keepdims else {})}
        return None if rank is None else [(f"Global{kind}Pooling{rank}D", config)]

    return layers


def _pooling(kind: str) -> Callable[[Config], Layers]:
    def layers(values: Config) -> Layers:
        keys = {key: values[key] for key in ("pool_size", "strides", "padding") if values.get(key) is not None}
        return [(f"{kind}Pooling2D", {"padding": "valid", **keys, "data_format": "channels_last"})]

    return layers


def _reshape(values: Config) -> Layers | None:
    shape = values["shape"]
    # The batch must stay what it is: -1, with all other sizes known.
    if not isinstance(shape, list) or shape[:1] not in ([-1], [None]) or any(not _is_size(n) for n in shape[1:]):
        return None
    return [("Reshape", {"target_shape": shape[1:]})]


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def _transpose(values: Config) -> Layers | None:
    order = values.get("order")
    return [("Permute", {"dims": list(order[1:])})] if order and order[0] == 0 else None


def _pad(values: Config) -> Layers | None:
    width, mode = values["width"], values.get("mode", "constant")
    is_zero = not values.get("value") and str(mode).lower() == "constant"
    is_inner = isinstance(width, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in width)
    if not is_zero or not is_inner or width[0] != [0, 0] or width[-1] != [0, 0]:
        return None
    rank = len(width) - 2
    config: dict[int, Config] = {
        1: {"padding": width[1]},
        2: {"padding": width[1:-1], "data_format": "channels_last"},
    }
    return [(f"ZeroPadding{rank}D", config[rank])] if rank in config else None


def _resize(values: Config) -> Layers:
    height, width = values["size"]
    return [("Resizing", {"height": height, "width": width, "interpolation": values.get("method", "bilinear")})]


# Operation of one tensor -> its layers for the operation's other values; None where there are none for these.
UNARY: Mapping[str, Callable[[Config], Layers | None]] = {
    **{name: activation(name) for name in ("relu", "sigmoid", "tanh", "softplus", "softsign", "selu")},
    "silu": activation("swish"),
    "exp": activation("exponential"),
    "identity": activation("linear"),
    "relu6": relu6,
    "clip": _clip,
    "elu": _elu,
    "gelu": _gelu,
    "leaky_relu": lambda values: [("LeakyReLU", {"alpha": values.get("alpha", 0.2)})],
    **dict.fromkeys(("softmax", "keras3_softmax"), _softmax),
    "negative": lambda _: [("Rescaling", {"scale": -1.0, "offset": 0.0})],
    **dict.fromkeys(("mean", "keras3_mean"), _global_pooling("Average")),
    "max": _global_pooling("Max"),
    "max_pool": _pooling("Max"),
    "average_pool": _pooling("Average"),
    "reshape": _reshape,
    "transpose": _transpose,
    "pad": _pad,
    **dict.fromkeys(("resize", "keras3_resize"), _resize),
}
# Operation of two tensors -> the layer that merges them.
MERGES: Mapping[str, str] = {
    "add": "Add",
    "subtract": "Subtract",
    "multiply": "Multiply",
    "maximum": "Maximum",
    "minimum": "Minimum",
}
