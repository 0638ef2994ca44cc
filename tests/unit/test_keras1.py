"""Keras 1 architectures as Keras 2 ones."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from dnndk_prep.errors import ModelFileError, UnsafeFileError
from dnndk_prep.keras_io.architecture import layers_of
from dnndk_prep.keras_io.keras1 import RULES, is_keras1, keras1_to_keras2

Config = dict[str, Any]
CONV = {
    **{"name": "c", "trainable": True, "nb_filter": 4, "nb_row": 3, "nb_col": 2, "init": "glorot_uniform"},
    **{"activation": "relu", "border_mode": "same", "subsample": [2, 1], "dim_ordering": "th", "bias": False},
    **{"W_regularizer": {"l1": 0.0, "l2": 0.1, "name": "L1L2Regularizer"}, "b_constraint": None},
}
LSTM = {
    **{"name": "r", "output_dim": 3, "init": "glorot_uniform", "inner_init": "orthogonal", "forget_bias_init": "one"},
    **{"activation": "tanh", "inner_activation": "hard_sigmoid", "dropout_W": 0.1, "dropout_U": 0.2},
    **{"return_sequences": True, "go_backwards": False, "stateful": False, "unroll": False, "consume_less": "gpu"},
    **{"U_regularizer": None, "input_dim": 4, "input_length": None},
}


def layer(kind: str, **config: Any) -> Config:
    return {"class_name": kind, "config": config}


def sequential(*layers: Config) -> Config:
    return {"class_name": "Sequential", "config": list(layers)}


def first(kind: str, **config: Any) -> Config:
    return layer(kind, **{"batch_input_shape": [None, 3, 8, 9], "input_dtype": "float32", **config})


def one(kind: str, **config: Any) -> Config:
    """What a layer behind an input becomes."""
    start = first("Convolution2D", **{**CONV, "name": "start"})
    return keras1_to_keras2(sequential(start, layer(kind, **config)), "m.h5")["config"]["layers"][2]


@pytest.mark.parametrize(
    ("kind", "config", "new_kind", "wanted"),
    [
        (
            "Convolution2D",
            CONV,
            "Conv2D",
            {
                **{"name": "c", "trainable": True, "filters": 4, "kernel_size": [3, 2], "activation": "relu"},
                **{"padding": "same", "strides": [2, 1], "data_format": "channels_first", "use_bias": False},
            },
        ),
        (
            "AtrousConvolution1D",
            {"name": "c", "nb_filter": 2, "filter_length": 3, "subsample_length": 1, "atrous_rate": 2},
            "Conv1D",
            {"name": "c", "filters": 2, "kernel_size": 3, "strides": 1, "dilation_rate": 2},
        ),
        (
            "LSTM",
            LSTM,
            "LSTM",
            {
                **{"name": "r", "units": 3, "activation": "tanh", "recurrent_activation": "hard_sigmoid"},
                **{"dropout": 0.1, "recurrent_dropout": 0.2, "return_sequences": True, "go_backwards": False},
                **{"stateful": False, "unroll": False, "implementation": 2},
            },
        ),
        ("GRU", {"name": "g", "output_dim": 2}, "GRU", {"name": "g", "units": 2, "reset_after": False}),
        ("Dense", {"name": "d", "output_dim": 2, "bias": True}, "Dense", {"name": "d", "units": 2, "use_bias": True}),
        ("TimeDistributedDense", {"name": "d", "output_dim": 2}, "Dense", {"name": "d", "units": 2}),
        ("Dropout", {"name": "o", "p": 0.3}, "Dropout", {"name": "o", "rate": 0.3}),
        ("GaussianNoise", {"name": "o", "sigma": 0.3}, "GaussianNoise", {"name": "o", "stddev": 0.3}),
        (
            "MaxPooling1D",
            {"name": "p", "pool_length": 2, "stride": 1, "border_mode": "valid"},
            "MaxPooling1D",
            {"name": "p", "pool_size": 2, "strides": 1, "padding": "valid"},
        ),
        (
            "ZeroPadding2D",
            {"name": "z", "padding": [1, 2]},
            "ZeroPadding2D",
            {"name": "z", "padding": [[1, 1], [2, 2]], "data_format": "channels_first"},
        ),
        (
            "ZeroPadding2D",
            {"name": "z", "padding": {"top_pad": 1, "right_pad": 2}},
            "ZeroPadding2D",
            {"name": "z", "padding": [[1, 0], [0, 2]], "data_format": "channels_first"},
        ),
        ("ZeroPadding1D", {"name": "z", "padding": 2}, "ZeroPadding1D", {"name": "z", "padding": [2, 2]}),
        ("UpSampling1D", {"name": "u", "length": 2}, "UpSampling1D", {"name": "u", "size": 2}),
        (
            "UpSampling2D",
            {"name": "u", "size": [2, 1]},
            "UpSampling2D",
            {"name": "u", "size": [2, 1], "data_format": "channels_first"},
        ),
        (
            "TimeDistributed",
            {"name": "t", "layer": layer("Dense", name="d", output_dim=2)},
            "TimeDistributed",
            {"name": "t", "layer": layer("Dense", name="d", units=2)},
        ),
        (
            "Embedding",
            {"name": "e", "input_dim": 5, "output_dim": 2, "dropout": 0.2, "input_dtype": "int32", "mask_zero": True},
            "Embedding",
            {"name": "e", "input_dim": 5, "output_dim": 2, "mask_zero": True},
        ),
        (
            "BatchNormalization",
            {"name": "b", "mode": 0, "axis": 1, "epsilon": 1e-5, "momentum": 0.9, "gamma_init": "one"},
            "BatchNormalization",
            {"name": "b", "axis": 1, "epsilon": 1e-5, "momentum": 0.9},
        ),
    ],
)
def test_layers(kind: str, config: Config, new_kind: str, wanted: Config) -> None:
    assert one(kind, **config) == layer(new_kind, **wanted)


@pytest.mark.parametrize(
    ("kind", "config", "named"),
    [
        ("BatchNormalization", {"name": "bn", "mode": 1}, "mode: 1"),
        ("BatchNormalization", {"name": "bn", "mode": 2}, "mode: 2"),
        ("Convolution2D", {**CONV, "name": "bn", "border_mode": "full"}, "border_mode: 'full'"),
        ("Convolution2D", {**CONV, "name": "bn", "activation": "my_own"}, "activation: 'my_own'"),
        ("Dense", {"name": "bn", "output_dim": 2, "sparsity": 0.5}, "sparsity: 0.5"),
        ("Merge", {"name": "bn", "mode": "sum", "arguments": {"a": 1}}, "arguments: {'a': 1}"),
        ("ZeroPadding2D", {"name": "bn", "padding": [1, 2, 3]}, "padding: [1, 2, 3]"),
        ("LSTM", {**LSTM, "name": "bn", "consume_less": "all"}, "consume_less: 'all'"),
    ],
)
def test_what_would_be_lost_is_named(kind: str, config: Config, named: str) -> None:
    with pytest.raises(ModelFileError, match="'bn' has a setting") as caught:
        one(kind, **config)
    assert caught.value.found == named


def test_all_unknown_layers_at_once() -> None:
    inner = layer("TimeDistributed", name="t", layer=layer("Highway", name="h"))
    model = sequential(first("Dense", name="d", output_dim=2), layer("MaxoutDense", name="m"), inner)
    model["config"].append(layer("Merge", name="cosine", mode="cos"))
    with pytest.raises(ModelFileError, match=r"m.h5 holds 3 layer") as caught:
        keras1_to_keras2(model, "m.h5")
    assert caught.value.found == "m: MaxoutDense; h: Highway; cosine: Merge with mode 'cos'"


def test_a_function_in_a_merge_is_refused() -> None:
    merge = layer("Merge", name="j", mode="4wEAAAA=", mode_type="lambda")
    with pytest.raises(UnsafeFileError, match="code that would run") as caught:
        keras1_to_keras2(sequential(first("Dense", name="d", output_dim=2), merge), "m.h5")
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("mode", "kind", "settings"),
    [
        ("sum", "Add", {}),
        ("mul", "Multiply", {}),
        ("ave", "Average", {}),
        ("max", "Maximum", {}),
        ("concat", "Concatenate", {"axis": 1}),
        ("dot", "Dot", {"axes": [1, 1]}),
    ],
)
def test_functional_merge(mode: str, kind: str, settings: Config) -> None:
    merge = {
        **{"name": "j", "mode": mode, "mode_type": "raw", "concat_axis": 1, "dot_axes": [1, 1], "arguments": {}},
        **{"output_shape": None, "output_shape_type": "raw", "output_mask": None, "output_mask_type": "raw"},
    }
    start = {"name": "a", "batch_input_shape": [None, 4], "input_dtype": "float32", "sparse": False}
    layers = [
        {**layer("InputLayer", **start), "name": "a", "inbound_nodes": []},
        {**layer("Merge", **merge), "name": "j", "inbound_nodes": [[["a", 0, 0], ["a", 0, 0]]]},
    ]
    config = {"name": "m", "layers": layers, "input_layers": [["a", 0, 0]], "output_layers": [["j", 0, 0]]}
    model = {"class_name": "Model", "config": config}
    before = deepcopy(model)
    result = keras1_to_keras2(model, "m.h5")
    assert model == before
    assert result["class_name"] == "Functional"
    inputs, joined = result["config"]["layers"]
    assert inputs["config"] == {"name": "a", "batch_input_shape": [None, 4], "dtype": "float32", "sparse": False}
    expected = {**layer(kind, name="j", **settings), "name": "j"}
    assert joined == {**expected, "inbound_nodes": [[["a", 0, 0, {}], ["a", 0, 0, {}]]]}


def test_a_sequential_gets_its_input() -> None:
    words = layer("Embedding", name="e", input_dim=5, output_dim=2, batch_input_shape=[None, 7], input_dtype="int32")
    result = keras1_to_keras2(sequential(words), "m.h5")
    wanted = {"batch_input_shape": [None, 7], "dtype": "int32", "name": "e_input"}
    assert result["config"]["layers"][0] == layer("InputLayer", **wanted)


def test_layers_that_do_not_tell_their_order_need_one_that_does() -> None:
    padding = first("ZeroPadding2D", name="z", padding=[1, 1])
    with pytest.raises(ModelFileError, match="order of axes for the layer 'z'"):
        keras1_to_keras2(sequential(padding), "m.h5")
    last = layer("Convolution2D", **{**CONV, "name": "l", "dim_ordering": "tf"})
    with pytest.raises(ModelFileError, match="order of axes") as caught:
        keras1_to_keras2(sequential(padding, layer("Convolution2D", **CONV), last), "m.h5")
    assert caught.value.found == "channels_first, channels_last"


@pytest.mark.parametrize(
    ("model", "version", "expected"),
    [
        (sequential(layer("Dense", name="d", units=2)), "1.2.2", True),
        (sequential(layer("Convolution2D", **CONV)), "2", True),
        (sequential(layer("Dense", name="d", output_dim=2, W_regularizer=None)), "2", True),
        (sequential(layer("Dense", name="d", units=2)), "2.3.1", False),
        (sequential(layer("Embedding", name="e", input_dim=3, output_dim=2)), "2", False),
    ],
)
def test_keras_1_is_known_by_its_words(model: Config, version: str, expected: bool) -> None:
    assert is_keras1(model, version) is expected


def test_an_incomplete_architecture_is_one_clear_error() -> None:
    with pytest.raises(ModelFileError, match="is not complete"):
        keras1_to_keras2(sequential(layer("Dense", output_dim=2)), "m.h5")


def test_no_rule_leaves_a_word_of_keras_1() -> None:
    words = {"nb_filter", "border_mode", "dim_ordering", "subsample", "output_dim", "p", "bias", "init"}
    for kind, rule in RULES.items():
        if kind != "Embedding":
            assert not words & {*rule.keys.values(), *rule.joined, *rule.added}, kind
    model = sequential(first("Convolution2D", **CONV), layer("Flatten", name="f"))
    assert not words & {key for one in layers_of(keras1_to_keras2(model, "m")) for key in one["config"]}
