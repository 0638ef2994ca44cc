"""Operations and names as pure functions on dicts."""

from __future__ import annotations

from typing import Any

import pytest

from dnndk_prep.keras_io import ops
from dnndk_prep.keras_io.architecture import is_operation
from dnndk_prep.keras_io.scan.rules import rules
from dnndk_prep.keras_io.valid_names import with_valid_names


def tensor(name: str) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "keras_history": [name, 0, 0]}}


def operation(kind: str, *args: Any, options: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
    calls = [{"args": list(args), "kwargs": kwargs}]
    return {"class_name": kind, "name": "op", "config": {"name": "op", **(options or {})}, "inbound_nodes": calls}


def tf_lambda(function: str, *calls: Any) -> dict[str, Any]:
    config = {"name": "op", "trainable": True, "dtype": "float32", "function": function}
    return {"class_name": "TFOpLambda", "name": "op", "config": config, "inbound_nodes": list(calls)}


def test_a_tensor_may_stand_on_either_side():
    config, tensors = ops.from_keras3(operation("Subtract", 1, tensor("x")))
    assert config == {"name": "op", "op": "subtract", "values": {"a": 1, "b": {"tensor": 0}}}
    assert tensors == [tensor("x")]
    config, tensors = ops.from_tensorflow(tf_lambda("math.subtract", ["_CONSTANT_VALUE", -1, 1.0, {"y": ["x", 0, 0]}]))
    assert config["values"] == {"a": 1.0, "b": {"tensor": 0}}
    assert tensors == [["x", 0, 0]]


def test_the_same_tensor_twice_is_one_input():
    config, tensors = ops.from_keras3(operation("Multiply", tensor("x"), tensor("x")))
    assert config["values"] == {"a": {"tensor": 0}, "b": {"tensor": 0}}
    assert len(tensors) == 1


def test_slices_have_one_form():
    parts = [{"class_name": "__slice__", "config": {"start": None, "stop": 2, "step": None}}, 0]
    config, _ = ops.from_keras3(operation("GetItem", tensor("x"), parts))
    assert config["values"]["key"] == [{"slice": [None, 2, None]}, 0]
    spec = {"slice_spec": [{"start": None, "stop": 2, "step": None}, {"class_name": "__ellipsis__"}]}
    config, _ = ops.from_tensorflow(tf_lambda("__operators__.getitem", ["x", 0, 0, spec]))
    assert config["values"]["key"] == [{"slice": [None, 2, None]}, {"ellipsis": True}]


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (operation("Einsum", tensor("x")), "the operation Einsum"),
        (operation("Max", tensor("x"), options={"initial": 3.0}), "initial: 3.0"),
        (operation("Add", 1, 2), "of no tensor"),
        (operation("Relu", tensor("x"), 1, 2), "with 3 arguments"),
        (operation("Relu", tensor("x"), other=1), "other: 1"),
        (tf_lambda("io.read_file", ["x", 0, 0, {}]), "the operation io.read_file"),
        (tf_lambda("nn.max_pool2d", ["x", 0, 0, {"data_format": "NCHW"}]), "data_format: 'NCHW'"),
        (tf_lambda("nn.relu", ["x", 0, 0, {}], ["x", 0, 0, {}]), "called 2 times"),
        (tf_lambda("nn.relu", [["x", 0, 0, {}], ["y", 0, 0, {}]]), "of 2 tensors"),
        (tf_lambda("nn.relu", ["x", 0]), "in a way that is not known"),
    ],
)
def test_what_has_no_form_is_said(layer: dict[str, Any], text: str):
    assert text in (ops.problem(layer) or "")


def test_every_function_of_the_table_is_one_that_files_may_name():
    refused = [name for name in ops.TENSORFLOW if not rules().is_tensorflow_function(name)]
    assert refused == []


def member(name: str, *reads: str) -> dict[str, Any]:
    calls = [[[read, 0, 0, {"mask": [read, 0, 0]}] for read in reads]] if reads else []
    return {"class_name": "Dense", "name": name, "config": {"name": name}, "inbound_nodes": calls}


def test_new_names_are_unique_and_followed_everywhere():
    layers = [member("a b"), member("a_b", "a b"), member("a-b", "a_b"), member("a?b", "a b", "a-b")]
    config = {"name": "my net", "layers": layers, "input_layers": [["a b", 0, 0]], "output_layers": [["a?b", 0, 0]]}
    model, old = with_valid_names({"class_name": "Functional", "config": config})
    names = [layer["name"] for layer in model["config"]["layers"]]
    assert names == ["a_b_1", "a_b", "a-b", "a_b_2"]
    assert old == {"a_b_1": "a b", "a_b_2": "a?b"}
    assert model["config"]["layers"][3]["inbound_nodes"][0][0] == ["a_b_1", 0, 0, {"mask": ["a_b_1", 0, 0]}]
    assert model["config"]["input_layers"] == [["a_b_1", 0, 0]]
    assert model["config"]["output_layers"] == [["a_b_2", 0, 0]]
    assert model["config"]["name"] == "my_net"


def test_valid_names_change_nothing():
    config = {"name": "net", "layers": [member("block1/conv"), member("b", "block1/conv")]}
    model = {"class_name": "Functional", "config": config}
    assert with_valid_names(model) == (model, {})


@pytest.mark.parametrize("module", ["keras.layers", None])
@pytest.mark.parametrize("kind", ["SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"])
def test_a_layer_that_writes_no_trainable_is_a_layer(kind: str, module: str | None):
    config = {"rate": 0.2, "seed": None, "name": "drop", "dtype": "float32"}
    assert not is_operation({"class_name": kind, "module": module, "config": config, "inbound_nodes": [{"args": []}]})
    assert is_operation({"class_name": "Add", "config": {"name": "add"}, "inbound_nodes": [{"args": []}]})
