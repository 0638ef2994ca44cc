"""Layouts, orders and paddings of Theano, on the flat graph of layers: no TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.channels_last import to_channels_last
from dnndk_prep.keras_io.layer_graph import LayerGraph, flatten, to_architecture
from dnndk_prep.keras_io.layer_shapes import shape_after, shapes_of
from dnndk_prep.keras_io.stored_weights import give_weights, keras2_weights
from dnndk_prep.keras_io.theano import as_tensorflow, turned

Config = dict[str, Any]
FIRST = {"data_format": "channels_first"}
CONV = {"filters": 3, "kernel_size": [2, 2], "strides": [1, 1], "padding": "valid", **FIRST}


def model(*layers: tuple[str, Config], shape: tuple[int, ...] = (2, 5, 6)) -> LayerGraph:
    start = {"class_name": "InputLayer", "config": {"name": "image", "batch_input_shape": [None, *shape]}}
    named = [{"class_name": kind, "config": {"name": f"l{i}", **config}} for i, (kind, config) in enumerate(layers)]
    return flatten({"class_name": "Sequential", "config": {"name": "m", "layers": [start, *named]}}, "m.h5")


def kinds(graph: LayerGraph) -> list[str]:
    return [call.leaf.kind for call in graph.calls]


def test_no_tensorflow_is_needed() -> None:
    code = (
        "import sys, dnndk_prep.keras_io.theano; sys.exit(bool({'tensorflow', 'keras', 'tf_keras'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_kernels_are_turned_by_half_a_circle() -> None:
    kernel = np.arange(2 * 3 * 2 * 1).reshape(2, 3, 2, 1)
    new, bias = turned("Conv2D", {}, [kernel, np.ones(1)])
    np.testing.assert_array_equal(new[0, 0], kernel[1, 2])
    np.testing.assert_array_equal(new[1, 2], kernel[0, 0])
    np.testing.assert_array_equal(new[0, 1], kernel[1, 1])
    assert bias.shape == (1,)
    for kind in ("DepthwiseConv2D", "SeparableConv2D", "Dense", "LocallyConnected2D"):
        np.testing.assert_array_equal(turned(kind, {}, [kernel])[0], kernel)
    inner = {"layer": {"class_name": "Conv2D", "config": {}}}
    np.testing.assert_array_equal(turned("TimeDistributed", inner, [kernel])[0], new)


@pytest.mark.parametrize(
    ("kind", "config", "shape", "wanted"),
    [
        ("Conv2D", FIRST, (7, 2, 3, 5), (3, 5, 2, 7)),
        ("Conv2D", {"data_format": "channels_last"}, (3, 5, 2, 7), (3, 5, 2, 7)),
        ("Conv2DTranspose", FIRST, (7, 2, 3, 5), (3, 5, 7, 2)),
        ("Conv2DTranspose", {"data_format": "channels_last"}, (3, 5, 2, 7), (3, 5, 7, 2)),
        ("Conv3D", FIRST, (7, 2, 3, 4, 5), (3, 4, 5, 2, 7)),
        ("Conv1D", {"kernel_size": 3}, (3, 1, 2, 7), (3, 2, 7)),
        ("Conv1D", {"kernel_size": 3}, (7, 2, 3, 1), (3, 2, 7)),
    ],
)
def test_kernels_of_keras_1(kind: str, config: Config, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    kernel, bias = keras2_weights(kind, config, [np.zeros(shape), np.zeros(7)])
    assert kernel.shape == wanted
    assert bias.shape == (7,)


def test_gates_of_keras_1() -> None:
    """i, c, f, o become i, f, c, o."""
    gates = [np.full(shape, gate) for gate in range(4) for shape in ((2, 1), (1, 1), (1,))]
    kernel, recurrent, bias = keras2_weights("LSTM", {}, gates)
    assert kernel.tolist() == [[0, 2, 1, 3]] * 2
    assert recurrent.tolist() == [[0, 2, 1, 3]]
    assert bias.tolist() == [0, 2, 1, 3]
    assert keras2_weights("GRU", {}, gates[:9])[2].tolist() == [0, 1, 2]
    both = keras2_weights("Bidirectional", {"layer": {"class_name": "GRU", "config": {}}}, [*gates[:9], *gates[:9]])
    assert [value.shape for value in both] == [(2, 3), (1, 3), (3,)] * 2


def test_rows_behind_a_flatten_are_shuffled() -> None:
    passing: list[tuple[str, Config]] = [("Dropout", {}), ("BatchNormalization", {})]
    graph = model(("Conv2D", CONV), ("Flatten", {}), *passing, ("Dense", {"units": 1}))
    image = np.arange(3 * 4 * 5)
    for leaf in graph.leaves():
        leaf.weights = {"BatchNormalization": [image] * 4, "Dense": [image[:, None]]}.get(leaf.kind, [])
    new = to_channels_last(graph)
    wanted = image.reshape(3, 4, 5).transpose(1, 2, 0).ravel()
    by_kind = {leaf.kind: leaf for leaf in new.leaves()}
    np.testing.assert_array_equal(by_kind["Dense"].weights[0][:, 0], wanted)
    for vector in by_kind["BatchNormalization"].weights:
        np.testing.assert_array_equal(vector, wanted)
    assert by_kind["InputLayer"].config["batch_input_shape"] == [None, 5, 6, 2]
    assert "Permute" not in kinds(new)
    # The old graph is as it was.
    assert graph.calls[0].leaf.config["batch_input_shape"] == [None, 2, 5, 6]


def test_a_flatten_that_turns_by_itself_shuffles_nothing() -> None:
    graph = model(("Conv2D", CONV), ("Flatten", FIRST), ("Dense", {"units": 1}))
    graph.calls[-1].leaf.weights = [np.arange(60)[:, None]]
    new = to_channels_last(graph)
    np.testing.assert_array_equal(new.calls[-1].leaf.weights[0][:, 0], np.arange(60))
    assert new.calls[-2].leaf.config["data_format"] == "channels_last"


def test_a_vector_of_millions_is_not_shuffled_by_an_index() -> None:
    graph = model(("Conv2D", CONV), ("Flatten", {}), ("Dense", {"units": 1}), shape=(2, 2001, 2001))
    assert kinds(to_channels_last(graph)) == ["InputLayer", "Conv2D", "Permute", "Flatten", "Dense"]


@pytest.mark.parametrize("config", [{"strides": [0, 1]}, {"kernel_size": [2, -1]}, {"dilation_rate": [0, 0]}])
def test_a_window_of_no_size_is_an_error(config: Config) -> None:
    with pytest.raises(ValueError, match="a window of"):
        shapes_of(model(("Conv2D", {**CONV, **config})))


def test_axes_move() -> None:
    layers = [("BatchNormalization", {"axis": 1}), ("BatchNormalization", {}), ("Softmax", {"axis": 1})]
    new = to_channels_last(model(("Conv2D", CONV), *layers))
    assert [call.leaf.config["axis"] for call in new.calls[2:]] == [3, 2, 3]


def test_slopes_move() -> None:
    graph = model(("Conv2D", CONV), ("PReLU", {"shared_axes": [2]}))
    graph.calls[-1].leaf.weights = [np.zeros((3, 1, 5))]
    leaf = to_channels_last(graph).calls[-1].leaf
    assert leaf.weights[0].shape == (1, 5, 3)
    assert leaf.config["shared_axes"] == [1]


@pytest.mark.parametrize("layer", [("Reshape", {"target_shape": [12, 5]}), ("Permute", {"dims": [3, 1, 2]})])
def test_what_needs_the_old_order_gets_it(layer: tuple[str, Config]) -> None:
    new = to_channels_last(model(("Conv2D", CONV), layer))
    assert kinds(new) == ["InputLayer", "Conv2D", "Permute", layer[0]]
    assert new.calls[2].leaf.config["dims"] == [3, 1, 2]
    assert new.calls[3].leaf.config == {"name": "l1", **layer[1]}


def test_an_image_out_of_a_vector_is_turned() -> None:
    graph = model(("Dense", {"units": 24}), ("Reshape", {"target_shape": [2, 3, 4]}), ("Conv2D", CONV), shape=(7,))
    new = to_channels_last(graph)
    assert kinds(new) == ["InputLayer", "Dense", "Reshape", "Permute", "Conv2D"]
    assert new.calls[3].leaf.config["dims"] == [2, 3, 1]


@pytest.mark.parametrize(
    "layer",
    [
        ("LocallyConnected2D", CONV),
        ("ConvLSTM2D", CONV),
        ("Conv2D", {**CONV, "activation": "softmax"}),
    ],
)
def test_what_cannot_be_exact_is_named(layer: tuple[str, Config]) -> None:
    with pytest.raises(ModelFileError, match=r"the layer 'l1' \(.*cannot be turned to channels_last exactly"):
        to_channels_last(model(("Conv2D", CONV), layer))


def steps(kind: str, **config: Any) -> tuple[str, Config]:
    return "TimeDistributed", {"layer": {"class_name": kind, "config": {**CONV, **config}}}


def test_each_step_is_turned_by_itself() -> None:
    new = to_channels_last(model(steps("Conv2D"), steps("GlobalMaxPooling2D"), shape=(7, 2, 5, 6)))
    assert kinds(new) == ["InputLayer", "Permute", "TimeDistributed", "Permute", "Permute", "TimeDistributed"]
    turns = [call.leaf.config["dims"] for call in new.calls if call.leaf.kind == "Permute"]
    assert turns == [[1, 3, 4, 2], [1, 4, 2, 3], [1, 3, 4, 2]]
    assert new.calls[2].leaf.config["layer"]["config"]["data_format"] == "channels_last"
    assert shapes_of(new)[-1] == (None, 7, 3)


@pytest.mark.parametrize("layer", [steps("LocallyConnected2D"), steps("Conv2D", activation="softmax")])
def test_what_no_step_can_do_is_named(layer: tuple[str, Config]) -> None:
    with pytest.raises(ModelFileError, match=r"the layer 'l0' \(TimeDistributed\) cannot be turned to channels_last"):
        to_channels_last(model(layer, shape=(7, 2, 5, 6)))


def test_a_model_inside_a_wrapper_is_not_missed() -> None:
    inner = {"class_name": "Sequential", "config": {"name": "s", "layers": [{"class_name": "Conv2D", "config": CONV}]}}
    with pytest.raises(ModelFileError, match="'l0'"):
        to_channels_last(model(("TimeDistributed", {"layer": inner}), shape=(7, 2, 5, 6)))


def test_normalisations_follow_their_axis() -> None:
    layers = [("LayerNormalization", {"axis": [1]}), ("UnitNormalization", {"axis": 1}), ("Rescaling", {"scale": 0.5})]
    new = to_channels_last(model(*layers, ("Conv2D", CONV)))
    assert kinds(new) == ["InputLayer", *(kind for kind, _ in layers), "Conv2D"]
    assert [call.leaf.config.get("axis") for call in new.calls[1:3]] == [[3], 3]


def test_a_resize_of_keras_2_keeps_the_axes_that_it_has() -> None:
    resize = ("Resizing", {"height": 4, "width": 3})
    new = to_channels_last(model(("Conv2D", CONV), resize, ("Conv2D", CONV)))
    assert kinds(new) == ["InputLayer", "Conv2D", "Permute", "Resizing", "Permute", "Conv2D"]


def same(**config: Any) -> Config:
    return {**CONV, "padding": "same", **config}


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"kernel_size": [3, 5]}, None),
        # An odd size: TensorFlow pads both sides alike.
        ({"kernel_size": [3, 1], "strides": [2, 1]}, None),
        ({"kernel_size": [3, 3], "strides": [2, 2]}, [[1, 1], [1, 1]]),
        ({"kernel_size": [2, 4]}, [[1, 0], [2, 1]]),
        ({"kernel_size": [2, 3], "dilation_rate": [2, 1]}, None),
    ],
)
def test_padding_lies_where_theano_has_it(config: Config, wanted: Any) -> None:
    graph = model(("Conv2D", same(**config)))
    as_tensorflow(graph)
    assert (kinds(graph) == ["InputLayer", "Conv2D"]) is (wanted is None)
    if wanted:
        assert graph.calls[1].leaf.config["padding"] == wanted
        assert graph.calls[2].leaf.config["padding"] == "valid"
    assert shapes_of(graph)[-1] == shape_after("Conv2D", same(**config), [(None, 2, 5, 6)])


POOL = {"pool_size": [2, 2], "strides": [2, 2], "padding": "same", **FIRST}


def test_padded_pooling_of_values_that_are_not_negative() -> None:
    graph = model(("Conv2D", {**CONV, "activation": "relu"}), ("Dropout", {}), ("MaxPooling2D", POOL))
    as_tensorflow(graph)
    assert kinds(graph)[-2:] == ["ZeroPadding2D", "MaxPooling2D"]
    # Of 4 rows Theano sees the first alone, then the two in the middle.
    assert graph.calls[-2].leaf.config["padding"] == [[1, 0], [1, 0]]
    assert shapes_of(graph)[-1] == (None, 3, 2, 3)


@pytest.mark.parametrize(
    "layers",
    [
        [("Conv2D", CONV), ("MaxPooling2D", POOL)],
        [("Conv2D", {**CONV, "activation": "relu"}), ("AveragePooling2D", POOL)],
        [("Conv2D", CONV), ("Conv2DTranspose", same(strides=[2, 2]))],
    ],
)
def test_padding_that_tensorflow_cannot_have_is_named(layers: list[tuple[str, Config]]) -> None:
    with pytest.raises(ModelFileError, match=r"the layer 'l1' \(.*no form in TensorFlow"):
        as_tensorflow(model(*layers))


def test_nested_and_shared_layers_come_out_flat() -> None:
    inner = {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": {"name": "d", "units": 2}}]}

    def node(*ends: tuple[str, int]) -> list[Any]:
        return [[name, place, 0, {}] for name, place in ends]

    layers = [
        {"class_name": "InputLayer", "name": "a", "config": {"batch_input_shape": [None, 2]}, "inbound_nodes": []},
        {**inner, "name": "twice", "inbound_nodes": [node(("a", 0)), node(("twice", 1))]},
        {"class_name": "Dense", "name": "d", "config": {"units": 2}, "inbound_nodes": [node(("twice", 2))]},
    ]
    ends = {"input_layers": [["a", 0, 0]], "output_layers": [["d", 0, 0]]}
    graph = flatten({"class_name": "Functional", "config": {"name": "m", "layers": layers, **ends}}, "m.h5")
    assert [call.leaf.name for call in graph.calls] == ["a", "twice_d", "twice_d", "d"]
    first, second = [np.ones((2, 2)), np.ones(2)], [np.zeros((2, 2)), np.zeros(2)]
    give_weights(graph, {"twice": (["k", "b"], first), "d": (["k", "b"], second)}, False, "m.h5")
    assert graph.calls[1].leaf.weights == first
    assert graph.calls[3].leaf.weights == second
    written = to_architecture(graph)["config"]
    nodes = {layer["name"]: layer["inbound_nodes"] for layer in written["layers"]}
    assert nodes == {"a": [], "twice_d": [node(("a", 0)), node(("twice_d", 0))], "d": [node(("twice_d", 1))]}
    assert written["output_layers"] == [["d", 0, 0]]


def test_steps_that_theano_pads_elsewhere_are_named() -> None:
    graph = model(steps("Conv2D", padding="same", kernel_size=[2, 3]), shape=(7, 2, 5, 6))
    with pytest.raises(ModelFileError, match=r"(?s)'l0'.*an odd kernel"):
        as_tensorflow(graph)


def test_theano_interpolates_otherwise() -> None:
    smooth = {"name": "smooth", "size": [2, 2], "interpolation": "bilinear", **FIRST}
    with pytest.raises(ModelFileError, match="'smooth'"):
        as_tensorflow(model(("UpSampling2D", smooth)))
    as_tensorflow(model(("UpSampling2D", {**smooth, "interpolation": "nearest"})))
