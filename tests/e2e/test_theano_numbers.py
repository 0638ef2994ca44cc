"""Models in Theano's order whose outputs plain numpy computes, and the script that converts them."""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
from keras_models import made
from numpy_model import evaluate
from theano_models import assert_close, read, run

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.load import KerasSource
from dnndk_prep.keras_io.stored_weights import write_complete
from dnndk_prep.keras_io.theano import converted

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(3, 2, 9, 12)).astype("float32")


def array(*shape: int) -> np.ndarray:
    return (RANDOM.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype("float32")


def vectors(size: int) -> list[np.ndarray]:
    return [RANDOM.uniform(0.5, 1.5, size).astype("float32") for _ in range(4)]


def keras1_conv(name: str, kernel: np.ndarray, strides: tuple[int, int] = (1, 1)) -> dict[str, Any]:
    return {
        **{"name": name, "nb_filter": kernel.shape[0], "nb_row": kernel.shape[2], "nb_col": kernel.shape[3]},
        **{"subsample": list(strides), "border_mode": "valid", "dim_ordering": "th", "activation": "linear"},
        **{"bias": True, "trainable": True, "init": "glorot_uniform", "W_regularizer": None},
    }


def write_keras1(path: Path, weights: dict[str, list[np.ndarray]], is_theano: bool) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in weights]
        for name, values in weights.items():
            names = [f"{name}_{i}" + ("" if is_theano else ":0") for i in range(len(values))]
            file.create_group(name).attrs["weight_names"] = [one.encode() for one in names]
            for one, value in zip(names, values, strict=True):
                file[name].create_dataset(one, data=value)


@pytest.mark.parametrize("is_theano", [True, False])
def test_numpy_chain_of_keras_1(tmp_path: Path, is_theano: bool) -> None:
    """Convolved, strided, normed, pooled, flattened, normed again, dense."""
    k1, b1, k2, b2 = array(5, 2, 3, 4), array(5, 1)[:, 0], array(4, 5, 2, 3), array(4, 1)[:, 0]
    n1, n2, d, e = vectors(5), vectors(36), array(36, 3), array(3, 1)[:, 0]
    layers = [
        ("Convolution2D", {**keras1_conv("c1", k1, (1, 2)), "batch_input_shape": [None, 2, 9, 12]}),
        ("BatchNormalization", {"name": "n1", "mode": 0, "axis": 1, "epsilon": 0.001, "momentum": 0.9}),
        ("Activation", {"name": "r1", "activation": "relu"}),
        ("Convolution2D", keras1_conv("c2", k2)),
        ("MaxPooling2D", {"name": "p", "pool_size": [2, 1], "border_mode": "valid", "dim_ordering": "th"}),
        ("Flatten", {"name": "f"}),
        ("Dropout", {"name": "o", "p": 0.5}),
        ("BatchNormalization", {"name": "n2", "mode": 0, "axis": -1, "epsilon": 0.001, "momentum": 0.9}),
        ("Dense", {"name": "d", "output_dim": 3, "activation": "linear", "bias": True}),
    ]
    config = {"class_name": "Sequential", "config": [{"class_name": kind, "config": one} for kind, one in layers]}
    weights = {"c1": [k1, b1], "n1": n1, "c2": [k2, b2], "n2": n2, "d": [d, e]}
    write_keras1(tmp_path / "w.h5", weights, is_theano)
    steps = [
        ("c1", ["x"], "conv", {"kernel": k1, "bias": b1, "strides": (1, 2), "is_true": is_theano}),
        ("n1", ["c1"], "norm", {"vectors": n1, "axis": 1}),
        ("r1", ["n1"], "relu", {}),
        ("c2", ["r1"], "conv", {"kernel": k2, "bias": b2, "is_true": is_theano}),
        ("p", ["c2"], "pool", {"size": (2, 1)}),
        ("f", ["p"], "ravel", {}),
        ("n2", ["f"], "norm", {"vectors": n2, "axis": 1}),
        ("d", ["n2"], "dense", {"kernel": d, "bias": e}),
    ]
    got, ops = run(read(tmp_path / "w.h5", {**config, "keras_version": "1.2.2"}), [IMAGES])
    assert_close(got, [evaluate(steps, {"x": IMAGES})["d"]])
    assert "Transpose" not in ops


Numbered = tuple[Path, dict[str, Any], list[np.ndarray]]


@pytest.fixture
def numbered(tmp_path: Path) -> Numbered:
    """Weights as Keras 0.3 wrote them, the architecture as Keras 1 does, and what the model gives for IMAGES."""
    k, b, d, e = array(5, 2, 3, 3), array(5, 1)[:, 0], array(5 * 7 * 5, 3), array(3, 1)[:, 0]
    conv = {**keras1_conv("c", k), "batch_input_shape": [None, 2, 9, 12], "activation": "relu"}
    layers = [
        ("Convolution2D", conv),
        ("MaxPooling2D", {"name": "p", "pool_size": [1, 2], "border_mode": "valid", "dim_ordering": "th"}),
        ("Flatten", {"name": "f"}),
        ("Dense", {"name": "d", "output_dim": 3, "activation": "linear", "bias": True}),
    ]
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["nb_layers"] = len(layers)
        for number, values in enumerate(([k, b], [], [], [d, e])):
            group = file.create_group(f"layer_{number}")
            group.attrs["nb_params"] = len(values)
            for place, value in enumerate(values):
                group.create_dataset(f"param_{place}", data=value)
    steps = [
        ("c", ["x"], "conv", {"kernel": k, "bias": b, "is_true": True}),
        ("r", ["c"], "relu", {}),
        ("p", ["r"], "pool", {"size": (1, 2)}),
        ("f", ["p"], "ravel", {}),
        ("d", ["f"], "dense", {"kernel": d, "bias": e}),
    ]
    config = {"class_name": "Sequential", "config": [{"class_name": kind, "config": one} for kind, one in layers]}
    config["keras_version"] = "1.2.2"
    return tmp_path / "w.h5", config, [evaluate(steps, {"x": IMAGES})["d"]]


def test_numbered_weights_of_keras_before_1(numbered: Numbered) -> None:
    weights, config, wanted = numbered
    got, _ = run(read(weights, config), [IMAGES])
    assert_close(got, wanted)


def test_numbered_weights_alone_say_what_to_add(numbered: Numbered) -> None:
    with pytest.raises(ModelFileError, match=r"(?s)a weights file.*give the architecture, too"):
        read(numbered[0])


def test_what_keras_before_1_computed_otherwise_is_named(numbered: Numbered) -> None:
    weights, config, _ = numbered
    norm = {"class_name": "BatchNormalization", "config": {"name": "n1", "mode": 0, "axis": 1, "epsilon": 1e-3}}
    with pytest.raises(ModelFileError, match="'n1'"):
        read(weights, {**config, "config": [config["config"][0], norm, *config["config"][1:]]})


def test_numbered_weights_need_an_architecture_of_keras_1(numbered: Numbered) -> None:
    modern = json.loads(twin("channels_last").to_json())
    with pytest.raises(ModelFileError, match=r"(?s)of Keras before 1\.0.*build the model in Keras 1"):
        read(numbered[0], modern)
    first = {"name": "Sequential", "layers": [{"name": "Dense", "output_dim": 3}], "loss": "mse"}
    with pytest.raises(ModelFileError, match=r"an architecture of Keras before 1\.0"):
        read(numbered[0], first)


def keras2_layer(kind: str, name: str, settings: dict[str, Any], *inputs: str) -> dict[str, Any]:
    nodes = [[[one, 0, 0, {}] for one in inputs]] if inputs else []
    return {"class_name": kind, "name": name, "config": {"name": name, **settings}, "inbound_nodes": nodes}


@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
def test_numpy_branches_of_keras_2(tmp_path: Path, backend: str) -> None:
    """Concatenated branches; a Flatten that moves the channels last by itself beside one that does not."""
    is_theano = backend == "theano"
    k1, b1, k2, b2 = array(3, 2, 2, 3), array(3, 1)[:, 0], array(4, 2, 2, 3), array(4, 1)[:, 0]
    n, d1, d2, e = vectors(7), array(7 * 4 * 5, 3), array(7 * 4 * 5, 3), array(3, 1)[:, 0]
    first = {"data_format": "channels_first"}
    conv = {"kernel_size": [2, 3], "strides": [1, 1], "padding": "valid", "activation": "linear", **first}
    pool = {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid", **first}
    layers = [
        keras2_layer("InputLayer", "x", {"batch_input_shape": [None, 2, 9, 12], "dtype": "float32", "sparse": False}),
        keras2_layer("Conv2D", "c1", {**conv, "filters": 3}, "x"),
        keras2_layer("Conv2D", "c2", {**conv, "filters": 4}, "x"),
        keras2_layer("Concatenate", "both", {"axis": 1, "trainable": True}, "c1", "c2"),
        keras2_layer("AveragePooling2D", "p", pool, "both"),
        keras2_layer("BatchNormalization", "n", {"axis": 1, "epsilon": 0.001}, "p"),
        keras2_layer("Flatten", "plain", {"data_format": "channels_last"}, "n"),
        keras2_layer("Flatten", "turns", first, "n"),
        keras2_layer("Dense", "d1", {"units": 3, "activation": "linear"}, "plain"),
        keras2_layer("Dense", "d2", {"units": 3, "activation": "linear"}, "turns"),
    ]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["d1", 0, 0], ["d2", 0, 0]]}
    config = {"class_name": "Model", "config": {"name": "m", "layers": layers, **ends}, "keras_version": "2.2.4"}
    kernels = {"c1": [k1.transpose(2, 3, 1, 0), b1], "c2": [k2.transpose(2, 3, 1, 0), b2]}
    write_keras1(tmp_path / "w.h5", {**kernels, "n": n, "d1": [d1, e], "d2": [d2, e]}, False)
    with h5py.File(tmp_path / "w.h5", "a") as file:
        file.attrs["backend"], file.attrs["keras_version"] = backend, "2.2.4"
    steps = [
        ("c1", ["x"], "conv", {"kernel": k1, "bias": b1, "is_true": is_theano}),
        ("c2", ["x"], "conv", {"kernel": k2, "bias": b2, "is_true": is_theano}),
        ("both", ["c1", "c2"], "concatenate", {"axis": 1}),
        ("p", ["both"], "pool", {"size": (2, 2), "largest": False}),
        ("n", ["p"], "norm", {"vectors": n, "axis": 1}),
        ("plain", ["n"], "ravel", {}),
        ("turns", ["n"], "ravel", {"turns": True}),
        ("d1", ["plain"], "dense", {"kernel": d1, "bias": e}),
        ("d2", ["turns"], "dense", {"kernel": d2, "bias": e}),
    ]
    got, ops = run(read(tmp_path / "w.h5", config), [IMAGES])
    values = evaluate(steps, {"x": IMAGES})
    assert_close(got, [values["d1"], values["d2"]])
    assert "Transpose" not in ops


def twin(order: str) -> Any:
    """The same network in either order; Flatten(channels_first) makes their weights the same, too."""
    layers, axis = keras.layers, 1 if order == "channels_first" else -1
    keras.utils.set_random_seed(1)
    image = layers.Input((2, 9, 12) if axis == 1 else (9, 12, 2), name="image")
    x = layers.Conv2D(4, (2, 3), data_format=order, activation="relu", name="conv")(image)
    x = layers.BatchNormalization(axis=axis, name="bn")(x)
    x = layers.MaxPooling2D((2, 3), data_format=order, name="pool")(x)
    x = layers.Concatenate(axis=axis, name="twice")([x, x])
    return keras.Model(image, layers.Dense(3, name="fc")(layers.Flatten(data_format=order, name="flat")(x)))


def test_channels_first_of_keras_3_is_turned_too(tmp_path: Path) -> None:
    first, last = twin("channels_first"), twin("channels_last")
    first.set_weights(last.get_weights())
    first.save(tmp_path / "first.h5")
    got, ops = run(read(tmp_path / "first.h5"), [IMAGES])
    assert_close(got, [last.predict(np.moveaxis(IMAGES, 1, -1), verbose=0)])
    assert "Transpose" not in ops


def test_other_models_are_left_alone(tmp_path: Path) -> None:
    made("cnn", keras).save(tmp_path / "cnn.h5")
    with h5py.File(tmp_path / "cnn.h5") as file:
        config = json.loads(file.attrs["model_config"])
        assert converted(config, file["model_weights"], keras.__version__, "cnn.h5") is None


def test_rows_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    conv = {**keras1_conv("c", array(3, 2, 2, 2)), "batch_input_shape": [None, 2, 9, 12]}
    layers = [("Convolution2D", conv), ("Flatten", {"name": "f"}), ("Dense", {"name": "d", "output_dim": 4})]
    config = {"class_name": "Sequential", "config": [{"class_name": kind, "config": one} for kind, one in layers]}
    write_keras1(tmp_path / "w.h5", {"c": [array(3, 2, 2, 2), array(3, 1)[:, 0]], "d": [array(7, 4)]}, True)
    with pytest.raises(ModelFileError, match="do not match the architecture at the layer 'd'"):
        read(tmp_path / "w.h5", {**config, "keras_version": "1.2.2"})


def test_weights_of_another_model_are_an_error(tmp_path: Path) -> None:
    layer = {**keras1_conv("c", array(3, 2, 2, 2)), "batch_input_shape": [None, 2, 9, 12]}
    config = {"class_name": "Sequential", "config": [{"class_name": "Convolution2D", "config": layer}]}
    write_keras1(tmp_path / "w.h5", {"c": [array(3, 2, 2, 2)], "d": [array(2, 2)]}, True)
    with pytest.raises(ModelFileError, match="do not match the architecture"):
        read(tmp_path / "w.h5", {**config, "keras_version": "1.2.2"})


def test_a_converted_file_is_read_as_any_other(tmp_path: Path) -> None:
    first, last = twin("channels_first"), twin("channels_last")
    first.set_weights(last.get_weights())
    first.save(tmp_path / "first.h5")
    source = read(tmp_path / "first.h5")
    write_complete(source.config, source.keras_version, source.weights, tmp_path / "last.h5")
    with h5py.File(tmp_path / "last.h5") as file:
        config, version = json.loads(file.attrs["model_config"]), file.attrs["keras_version"]
        assert converted(config, file["model_weights"], version, "last.h5") is None
    got, _ = run(KerasSource("last.h5", config, version, tmp_path / "last.h5"), [np.moveaxis(IMAGES, 1, -1)])
    assert_close(got, [last.predict(np.moveaxis(IMAGES, 1, -1), verbose=0)])


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    folder = Path(__file__).resolve().parents[2] / "scripts"

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setattr(sys, "argv", ["th_to_tf_converter.py", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(folder / "th_to_tf_converter.py"), run_name="__main__")
        return int(caught.value.code or 0), "".join(capfd.readouterr())

    return call


def test_script_writes_both_files_under_their_names(script: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    model = twin("channels_last")
    model.save(tmp_path / "model.h5")
    (tmp_path / "arch.json").write_text(model.to_json())
    wanted = model.predict(np.moveaxis(IMAGES, 1, -1), verbose=0)
    code, text = script("-w", tmp_path / "model.h5", "-j", tmp_path / "arch.json", "-c", "-o", tmp_path / "out")
    assert code == 0, text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["arch.json", "model.h5"]
    again = keras.models.load_model(tmp_path / "out" / "model.h5", compile=False)
    assert_close([again.predict(np.moveaxis(IMAGES, 1, -1), verbose=0)], [wanted])
    with h5py.File(tmp_path / "out" / "model.h5") as file:
        assert "optimizer_weights" not in file
        assert "training_config" not in file.attrs


def test_script_does_not_write_over_the_model(script: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    twin("channels_last").save(tmp_path / "model.h5")
    before = (tmp_path / "model.h5").read_bytes()
    code, text = script("-w", tmp_path / "model.h5", "-o", tmp_path)
    assert code == 2
    assert "would be written over the model itself" in text
    assert (tmp_path / "model.h5").read_bytes() == before
