"""What each class of Keras 1 becomes in Keras 2, as tables.

Taken from the get_config of keras/layers/*.py and keras/engine/topology.py of Keras 1.2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MODELS = ("Sequential", "Model")
DATA_FORMATS: Mapping[str, str] = {"th": "channels_first", "tf": "channels_last"}
ACTIVATIONS = ("softmax", "softplus", "softsign", "relu", "tanh", "sigmoid", "hard_sigmoid", "linear", "elu")
# How a recurrent layer stored its weights, as Keras 2 numbers it; 2 is one array for all gates.
IMPLEMENTATIONS: Mapping[str, int] = {"cpu": 0, "mem": 1, "gpu": 2}
# A branch of a Merge that stood first in a Sequential: the file holds its layers one by one.
FLATTENED = "stored_layer_by_layer"

TRAINING = frozenset(
    [
        *("init", "inner_init", "forget_bias_init", "alpha_init", "gamma_init", "beta_init"),
        *("W_regularizer", "U_regularizer", "b_regularizer", "gamma_regularizer", "beta_regularizer"),
        *("depthwise_regularizer", "pointwise_regularizer", "activity_regularizer"),
        *("W_constraint", "b_constraint", "depthwise_constraint", "pointwise_constraint", "weights"),
    ]
)
# Of a model's first layer: they became its batch_input_shape and the dtype of its input.
OF_INPUT = frozenset(["batch_input_shape", "input_shape", "input_dtype", "input_dim", "input_length"])


@dataclass(frozen=True)
class Rule:
    """What a Keras 1 class becomes.

    keys: key of Keras 1 -> of Keras 2. joined: key of Keras 2 -> the Keras 1 keys whose values are its list. fixed: the
    value a key must have, having no name in Keras 2. added: what Keras 1 always did and Keras 2 must be told.
    """

    kind: str
    keys: Mapping[str, str] = field(default_factory=dict)
    joined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    added: Mapping[str, Any] = field(default_factory=dict)


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_DENSE = {"output_dim": "units", "activation": "activation", "bias": "use_bias"}
_CONV = {"nb_filter": "filters", "activation": "activation", "border_mode": "padding", "bias": "use_bias"}
_CONV1D = {**_CONV, "subsample_length": "strides", "filter_length": "kernel_size"}
_CONV_ND = {**_CONV, "subsample": "strides", "dim_ordering": "data_format"}
_ROWS_COLS = {"kernel_size": ("nb_row", "nb_col")}
_POOL = {**_same("pool_size", "strides"), "border_mode": "padding", "dim_ordering": "data_format"}
_POOL1D = {"pool_length": "pool_size", "stride": "strides", "border_mode": "padding"}
_FORMAT = {"dim_ordering": "data_format"}
_RECURRENT = {
    **_same("return_sequences", "go_backwards", "stateful", "unroll", "activation"),
    "output_dim": "units",
    "consume_less": "implementation",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
}
_GATED = {**_RECURRENT, "inner_activation": "recurrent_activation"}
_CONV_LSTM = {
    **_same("return_sequences", "go_backwards", "stateful", "activation"),
    **{"nb_filter": "filters", "border_mode": "padding", "dim_ordering": "data_format"},
    **{"inner_activation": "recurrent_activation", "subsample": "strides"},
    **{"dropout_W": "dropout", "dropout_U": "recurrent_dropout"},
}

RULES: Mapping[str, Rule] = {
    "InputLayer": Rule("InputLayer", {**_same("batch_input_shape", "sparse"), "input_dtype": "dtype"}),
    "Dense": Rule("Dense", _DENSE),
    "TimeDistributedDense": Rule("Dense", _DENSE),
    "Activation": Rule("Activation", _same("activation")),
    "Dropout": Rule("Dropout", {"p": "rate"}),
    "SpatialDropout1D": Rule("SpatialDropout1D", {"p": "rate"}),
    "SpatialDropout2D": Rule("SpatialDropout2D", {"p": "rate", **_FORMAT}),
    "SpatialDropout3D": Rule("SpatialDropout3D", {"p": "rate", **_FORMAT}),
    "GaussianNoise": Rule("GaussianNoise", {"sigma": "stddev"}),
    "GaussianDropout": Rule("GaussianDropout", {"p": "rate"}),
    "ActivityRegularization": Rule("ActivityRegularization", _same("l1", "l2")),
    "Masking": Rule("Masking", _same("mask_value")),
    "Reshape": Rule("Reshape", _same("target_shape")),
    "Permute": Rule("Permute", _same("dims")),
    "Flatten": Rule("Flatten"),
    "RepeatVector": Rule("RepeatVector", _same("n")),
    # mode 1 and 2 take the mean of what is being predicted; Keras 2 has neither.
    "BatchNormalization": Rule("BatchNormalization", _same("epsilon", "axis", "momentum"), fixed={"mode": 0}),
    "Embedding": Rule("Embedding", _same("input_dim", "output_dim", "input_length", "mask_zero")),
    "LeakyReLU": Rule("LeakyReLU", _same("alpha")),
    "ELU": Rule("ELU", _same("alpha")),
    "ThresholdedReLU": Rule("ThresholdedReLU", _same("theta")),
    "PReLU": Rule("PReLU", _same("shared_axes")),
    "Convolution1D": Rule("Conv1D", _CONV1D),
    "AtrousConvolution1D": Rule("Conv1D", {**_CONV1D, "atrous_rate": "dilation_rate"}),
    "Convolution2D": Rule("Conv2D", _CONV_ND, _ROWS_COLS),
    "AtrousConvolution2D": Rule("Conv2D", {**_CONV_ND, "atrous_rate": "dilation_rate"}, _ROWS_COLS),
    # Keras 2 computes the shape itself; it is compared when the sizes are known.
    "Deconvolution2D": Rule("Conv2DTranspose", {**_CONV_ND, "output_shape": "output_shape"}, _ROWS_COLS),
    "SeparableConvolution2D": Rule("SeparableConv2D", {**_CONV_ND, **_same("depth_multiplier")}, _ROWS_COLS),
    "Convolution3D": Rule("Conv3D", _CONV_ND, {"kernel_size": ("kernel_dim1", "kernel_dim2", "kernel_dim3")}),
    "LocallyConnected1D": Rule("LocallyConnected1D", _CONV1D),
    "LocallyConnected2D": Rule("LocallyConnected2D", _CONV_ND, _ROWS_COLS),
    "ConvLSTM2D": Rule("ConvLSTM2D", _CONV_LSTM, _ROWS_COLS),
    **{f"{kind}Pooling1D": Rule(f"{kind}Pooling1D", _POOL1D) for kind in ("Max", "Average")},
    **{f"{kind}Pooling{n}D": Rule(f"{kind}Pooling{n}D", _POOL) for kind in ("Max", "Average") for n in (2, 3)},
    **{f"Global{kind}Pooling1D": Rule(f"Global{kind}Pooling1D") for kind in ("Max", "Average")},
    **{
        f"Global{kind}Pooling{n}D": Rule(f"Global{kind}Pooling{n}D", _FORMAT)
        for kind in ("Max", "Average")
        for n in (2, 3)
    },
    "UpSampling1D": Rule("UpSampling1D", {"length": "size"}),
    "UpSampling2D": Rule("UpSampling2D", {"size": "size", **_FORMAT}),
    "UpSampling3D": Rule("UpSampling3D", {"size": "size", **_FORMAT}),
    "ZeroPadding1D": Rule("ZeroPadding1D", _same("padding")),
    "ZeroPadding2D": Rule("ZeroPadding2D", {"padding": "padding", **_FORMAT}),
    "ZeroPadding3D": Rule("ZeroPadding3D", {"padding": "padding", **_FORMAT}),
    "Cropping1D": Rule("Cropping1D", _same("cropping")),
    "Cropping2D": Rule("Cropping2D", {"cropping": "cropping", **_FORMAT}),
    "Cropping3D": Rule("Cropping3D", {"cropping": "cropping", **_FORMAT}),
    "SimpleRNN": Rule("SimpleRNN", {**_RECURRENT}),
    # Keras 2 for TensorFlow 2 applies the reset gate after the product unless it is told not to.
    "GRU": Rule("GRU", _GATED, added={"reset_after": False}),
    "LSTM": Rule("LSTM", _GATED),
    "TimeDistributed": Rule("TimeDistributed", _same("layer")),
    "Bidirectional": Rule("Bidirectional", _same("layer", "merge_mode")),
}

# Layers whose dim_ordering Keras 1 has but does not write.
UNTOLD = ("UpSampling2D", "UpSampling3D", "ZeroPadding2D", "ZeroPadding3D", "Cropping2D", "Cropping3D")

MERGES: Mapping[str, Rule] = {
    "sum": Rule("Add"),
    "mul": Rule("Multiply"),
    "ave": Rule("Average"),
    "max": Rule("Maximum"),
    "concat": Rule("Concatenate", {"concat_axis": "axis"}),
    "dot": Rule("Dot", {"dot_axes": "axes"}),
}
# What a Merge writes for the modes that have no use for it; a function is named by *_type.
MERGE_IDLE = frozenset(["mode", "concat_axis", "dot_axes", "mode_type", "output_shape_type", "output_mask_type"])
MERGE_EMPTY: Mapping[str, Any] = {"output_shape": None, "output_mask": None, "arguments": {}}
MERGE_FUNCTIONS = ("mode_type", "output_shape_type", "output_mask_type")
