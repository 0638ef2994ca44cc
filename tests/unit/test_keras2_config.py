"""Keras 3 architectures as Keras 2 ones, on dicts alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dnndk_prep.errors import ModelFileError, UnsafeFileError
from dnndk_prep.keras_io.architecture import (
    check_classes,
    expect_complete,
    layers_of,
    with_old_resizes,
)
from dnndk_prep.keras_io.keras2 import to_keras2
from dnndk_prep.keras_io.masks import without_masks
from dnndk_prep.keras_io.scan import refuse_code

KNOWN = {
    "Functional",
    "Sequential",
    "InputLayer",
    "Dense",
    "Add",
    "LSTM",
    "Embedding",
    "LeakyReLU",
    "BatchNormalization",
}
FLOAT32 = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}


def tensor(layer: str, call: int = 0, index: int = 0) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "keras_history": [layer, call, index]}}


def call(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"args": list(args), "kwargs": kwargs}


def layer(kind: str, name: str, *calls: dict[str, Any], **settings: Any) -> dict[str, Any]:
    config = {"name": name, "trainable": True, "dtype": FLOAT32, **settings}
    return {"module": "keras.layers", "class_name": kind, "config": config, "name": name, "inbound_nodes": list(calls)}


def entry(name: str = "x") -> dict[str, Any]:
    config = {"batch_shape": [None, 4], "dtype": "float32", "sparse": False, "name": name, "optional": False}
    return {"class_name": "InputLayer", "config": config, "name": name, "inbound_nodes": []}


def functional(*layers: dict[str, Any], outputs: list[Any], name: str = "model") -> dict[str, Any]:
    inputs = [[member["name"], 0, 0] for member in layers if member["class_name"] == "InputLayer"]
    config = {"name": name, "layers": list(layers), "input_layers": inputs, "output_layers": outputs}
    return {"module": "keras.src.models.functional", "class_name": "Functional", "config": config, "name": name}


def only(kind: str, **settings: Any) -> dict[str, Any]:
    """The Keras 2 settings of one layer."""
    return to_keras2(layer(kind, "l", **settings))["config"]


def test_renamed_and_dropped() -> None:
    assert to_keras2(entry())["config"] == {
        "batch_input_shape": [None, 4],
        "dtype": "float32",
        "sparse": False,
        "name": "x",
    }
    assert only("LeakyReLU", negative_slope=0.1)["alpha"] == 0.1
    assert only("Dense", units=2, quantization_config=None) == {
        "name": "l",
        "trainable": True,
        "dtype": "float32",
        "units": 2,
    }
    norm = only("BatchNormalization", synchronized=False, renorm=False, renorm_clipping=None, renorm_momentum=0.99)
    assert set(norm) == {"name", "trainable", "dtype"}


def test_initializers_lose_their_new_keys() -> None:
    config = {"seed": None, "input_axes": None, "output_axes": None}
    init = {"module": "keras.initializers", "class_name": "GlorotUniform", "config": config, "registered_name": None}
    assert only("Dense", kernel_initializer=init)["kernel_initializer"]["config"] == {"seed": None}
    init["config"]["input_axes"] = [0]
    with pytest.raises(ModelFileError, match=r"(?s)'l'.*kernel_initializer\.input_axes: \[0\]"):
        only("Dense", kernel_initializer=init)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("BatchNormalization", {"renorm": True}),
        ("BatchNormalization", {"synchronized": True}),
        ("Dense", {"quantization_config": {"mode": "int8"}}),
        ("Dense", {"dtype": {"class_name": "QuantizedDTypePolicy", "config": {}}}),
        ("Dense", {"activation": "sparsemax"}),
        ("ZeroPadding1D", {"data_format": "channels_first"}),
    ],
)
def test_a_value_that_changes_the_model_is_refused_by_name(kind: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError) as caught:
        only(kind, **settings)
    assert "'l'" in str(caught.value)
    assert next(iter(settings)) in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("keras3", "keras2"),
    [("relu", "relu"), ("silu", "swish"), ("hard_sigmoid", "keras3_hard_sigmoid"), (None, None)],
)
def test_activations(keras3: str | None, keras2: str | None) -> None:
    assert only("Dense", activation=keras3)["activation"] == keras2


def test_calls_become_lists() -> None:
    model = functional(
        entry("a"),
        entry("b"),
        layer("Dense", "d", call(tensor("a")), call(tensor("b"))),
        layer("Add", "s", call([tensor("d", 0), tensor("d", 1)], training=True)),
        outputs=["s", 0, 0],
    )
    config = to_keras2(model)["config"]
    assert config["layers"][2]["inbound_nodes"] == [[["a", 0, 0, {}]], [["b", 0, 0, {}]]]
    assert config["layers"][3]["inbound_nodes"] == [[["d", 0, 0, {}], ["d", 1, 0, {}]]]
    assert config["output_layers"] == [["s", 0, 0]]


def test_calls_of_nested_models_count_the_call_that_made_them() -> None:
    inner = functional(entry("i"), layer("Dense", "d", call(tensor("i"))), outputs=["d", 0, 0], name="inner")
    inner["inbound_nodes"] = [call(tensor("x"))]
    sequential = {
        "class_name": "Sequential",
        "config": {"name": "seq", "layers": [entry("j"), layer("Dense", "e")]},
        "name": "seq",
        "inbound_nodes": [call(tensor("x"), mask=None)],
    }
    model = functional(
        entry(),
        inner,
        sequential,
        layer("Add", "s", call([tensor("inner"), tensor("seq")])),
        outputs=[["inner", 1, 0], ["seq", 0, 0]],
    )
    config = to_keras2(model)["config"]
    assert config["layers"][3]["inbound_nodes"] == [[["inner", 1, 0, {}], ["seq", 1, 0, {}]]]
    # Keras 3 has counted it for the functional member already, for the Sequential one not.
    assert config["output_layers"] == [["inner", 1, 0], ["seq", 1, 0]]


def test_two_positional_arguments_are_refused() -> None:
    model = functional(entry(), layer("Dense", "d", call(tensor("x"), tensor("x"))), outputs=["d", 0, 0])
    with pytest.raises(ModelFileError, match="'d' is called in a way"):
        to_keras2(model)


def test_masks_go_and_other_operations_stay() -> None:
    operation = {
        "class_name": "NotEqual",
        "config": {"name": "ne"},
        "name": "ne",
        "inbound_nodes": [call(tensor("x"), 0)],
    }
    recurrent = layer("LSTM", "l", call(tensor("e"), mask=tensor("ne")))
    embedding = layer("Embedding", "e", call(tensor("x")), mask_zero=True)
    model = functional(entry(), embedding, operation, recurrent, outputs=["l", 0, 0])
    layers = without_masks(model)["config"]["layers"]
    assert [member["name"] for member in layers] == ["x", "e", "l"]
    assert layers[2]["inbound_nodes"] == [call(tensor("e"))]
    model["config"]["output_layers"] = [["l", 0, 0], ["ne", 0, 0]]
    assert [member["name"] for member in without_masks(model)["config"]["layers"]] == ["x", "e", "ne", "l"]
    # No layer hands this mask on: the model itself computes it.
    embedding["config"]["mask_zero"] = False
    assert without_masks(model) == model


def test_all_unknown_layers_are_named_at_once() -> None:
    custom = layer("MyLayer", "mine", call(tensor("x")), registered_name=None)
    custom["registered_name"] = "pkg>MyLayer"
    operation = {
        "class_name": "Einsum",
        "config": {"name": "plus", "subscripts": "ab->a"},
        "name": "plus",
        "inbound_nodes": [call(tensor("x"), 1)],
    }
    inner = functional(entry("i"), layer("Other", "deep", call(tensor("i"))), outputs=["deep", 0, 0], name="inner")
    model = functional(entry(), custom, operation, inner, outputs=["plus", 0, 0])
    with pytest.raises(ModelFileError) as caught:
        check_classes(model, KNOWN, "m.h5")
    for text in ("m.h5 holds 3", "mine: pkg>MyLayer", "plus: the operation Einsum", "deep: Other"):
        assert text in str(caught.value)


def test_known_layers_pass() -> None:
    model = functional(entry(), layer("Add", "s", call([tensor("x"), tensor("x")])), outputs=["s", 0, 0])
    check_classes(model, KNOWN, "m.h5")
    assert [member["class_name"] for member in layers_of(model)] == ["Functional", "InputLayer", "Add"]


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (layer("Lambda", "l", function=["4wEAAA==", None, None], function_type="lambda"), "Lambda in l"),
        (layer("Dense", "l", activation={"class_name": "__lambda__", "config": {"value": "4wEA"}}), "__lambda__"),
        (layer("Dense", "l", activation={"value": ["4wEA", None, None]}), "code as the activation of l"),
        (layer("TFSMLayer", "l", filepath="x"), "TFSMLayer"),
        (
            layer("Dense", "l", activation={"class_name": "function", "module": "builtins", "config": "exec"}),
            "builtins.exec",
        ),
        (
            layer("Dense", "l", activation={"class_name": "function", "module": "keras.utils", "config": "get_file"}),
            "keras.utils.get_file",
        ),
    ],
)
def test_code_is_refused_however_deep(bad: dict[str, Any], what: str) -> None:
    wrapped = layer("TimeDistributed", "t", layer=bad)
    for model in (
        bad,
        functional(entry(), wrapped, outputs=["t", 0, 0]),
        {"class_name": "Sequential", "config": [bad]},
    ):
        with pytest.raises(UnsafeFileError) as caught:
            refuse_code(model, "m.h5")
        assert what in str(caught.value)
        assert caught.value.exit_code == 6


def test_a_plain_model_is_not_code() -> None:
    activation = {"class_name": "function", "module": "keras.src.activations.activations", "config": "relu"}
    refuse_code(functional(entry(), layer("Dense", "d", activation=activation), outputs=["d", 0, 0]), "m.h5")


def test_an_architecture_that_lacks_something_is_a_file_error() -> None:
    model = functional(entry(), layer("Dense", "d", call(tensor("x"))), outputs=["d", 0, 0])
    for key in ("output_layers", "input_layers", "layers", "name"):
        broken = copy.deepcopy(model)
        del broken["config"][key]
        with pytest.raises(ModelFileError, match=r"m\.h5 is not complete"), expect_complete("m.h5"):
            to_keras2(broken)


def test_the_given_architecture_is_not_changed() -> None:
    model = functional(entry(), layer("Dense", "d", call(tensor("x"))), outputs=["d", 0, 0])
    before = copy.deepcopy(model)
    to_keras2(without_masks(model))
    assert model == before


def test_tensors_in_a_list_of_another_argument() -> None:
    state = call(tensor("x"), initial_state=[tensor("first", 0, 1), tensor("first", 0, 2)])
    model = functional(
        entry(), layer("LSTM", "first", call(tensor("x"))), layer("LSTM", "second", state), outputs=["second", 0, 0]
    )
    second = to_keras2(model)["config"]["layers"][2]
    assert second["inbound_nodes"] == [[["x", 0, 0, {"initial_state": [["first", 0, 1], ["first", 0, 2]]}]]]


def test_outputs_in_lists_and_dicts() -> None:
    layers = [entry(), layer("ReLU", "a", call(tensor("x"))), layer("ReLU", "b", call(tensor("x")))]
    for ends in ([["a", 0, 0], [["b", 0, 0], ["x", 0, 0]]], {"one": ["a", 0, 0], "two": [["b", 0, 0]]}):
        assert to_keras2(functional(*layers, outputs=ends))["config"]["output_layers"] == ends


@pytest.mark.parametrize(
    ("version", "is_old"), [("2.2.4", True), ("2.3.1", True), ("2.2.4-tf", False), ("2.4.0", False), ("2.15.0", False)]
)
def test_resizes_without_half_pixels(version: str, is_old: bool) -> None:
    smooth, blocks = (layer("UpSampling2D", how, interpolation=how) for how in ("bilinear", "nearest"))
    model = {"class_name": "Sequential", "config": {"layers": [smooth, blocks]}}
    after = with_old_resizes(model, version)["config"]["layers"]
    assert after[0]["config"].get("half_pixel_centers") is (False if is_old else None)
    assert after[1] == blocks
    assert "half_pixel_centers" not in smooth["config"]


def test_layers_that_do_nothing_in_inference_may_have_any_order() -> None:
    made = only("SpatialDropout2D", rate=0.2, data_format="channels_first")
    assert made["rate"] == 0.2
    assert "data_format" not in made
