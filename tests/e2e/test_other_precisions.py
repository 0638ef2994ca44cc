"""Models of half, mixed and double precision, and models that are too large."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tf_keras
from conversion import OLDEST, assert_within, frozen, optimized, outputs

from dnndk_prep.errors import ModelFileError, StageError
from dnndk_prep.keras_io.inference import build_inference
from dnndk_prep.keras_io.limits import check_weights
from dnndk_prep.keras_io.load import read_model
from dnndk_prep.keras_io.predict import Predictor


@pytest.mark.parametrize("spelling", ["tf_keras", "keras"])
@pytest.mark.parametrize("precision", ["float16", "mixed_float16", "mixed_bfloat16", "float64"])
def test_the_graph_is_of_float32(tmp_path: Path, spelling: str, precision: str):
    library = importlib.import_module(spelling)
    layers = library.layers
    image = library.Input((8, 8, 3), name="image")
    x = layers.BatchNormalization(dtype=precision)(layers.Conv2D(4, 3, dtype=precision)(image))
    x = layers.Dense(3, dtype=precision)(layers.GlobalAveragePooling2D(dtype=precision)(x))
    library.Model(image, x).save(tmp_path / "model.h5")
    source = read_model(tmp_path / "model.h5")
    feeds = [np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)]
    wanted = Predictor(source).predict(feeds)
    (note,) = build_inference(source).notes
    assert precision in note
    graph = optimized(frozen(source), feeds)
    assert graph.reader == OLDEST
    assert not any(node.op == "Cast" for node in graph.graph_def.node)
    assert wanted[0].dtype == np.float32
    assert_within(outputs(graph, feeds), wanted)


@pytest.mark.parametrize("spelling", ["tf_keras", "keras"])
def test_half_precision_itself_is_off_by_its_rounding(tmp_path: Path, spelling: str):
    """What Keras predicts in mixed_float16 is no reference to 1e-5; 11 bits a layer are seen, and no more."""
    library = importlib.import_module(spelling)
    layers, policy = library.layers, "mixed_float16"
    image = library.Input((8, 8, 3), name="image")
    x = layers.GlobalAveragePooling2D(dtype=policy)(layers.Conv2D(4, 3, dtype=policy)(image))
    model = library.Model(image, layers.Dense(3, dtype=policy)(x))
    model.save(tmp_path / "model.h5")
    feeds = [np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)]
    half = model.predict(feeds[0], verbose=0).astype(np.float64)
    got = outputs(frozen(read_model(tmp_path / "model.h5")), feeds)[0]
    assert half.astype(np.float16).astype(np.float64).tolist() == half.tolist()
    assert np.abs(got - half).max() <= 1e-2 * max(1, np.abs(half).max())


def test_a_quantized_model_is_refused_by_its_layer(tmp_path: Path):
    image = keras.Input((4,))
    model = keras.Model(image, keras.layers.Dense(3, name="small")(image))
    model.quantize("int8")
    model.save(tmp_path / "model.h5")
    with pytest.raises(ModelFileError, match="small"):
        build_inference(read_model(tmp_path / "model.h5"))


def test_weights_above_the_limit_are_refused_before_anything_is_built(tmp_path: Path):
    """Without a value in it: the declared size counts."""
    with h5py.File(tmp_path / "large.h5", "w") as file:
        file.create_dataset("fc/fc/kernel:0", (30_000, 20_000), np.float32)
        file.create_dataset("optimizer_weights/m", (30_000, 20_000), np.float32)
        check_weights(file["fc"], "small.h5", ["fc/kernel"])
        with pytest.raises(StageError) as caught:
            check_weights(file, "large.h5")
        check_weights(file, "large.h5", ["fc/kernel"])
    text = str(caught.value)
    assert "2400000000 bytes" in text
    assert str(2**31 - 1) in text
    assert "freeze_graph.keep_vars" in text


def test_half_precision_counts_as_it_stands_in_the_graph(tmp_path: Path):
    with h5py.File(tmp_path / "large.h5", "w") as file:
        file.create_dataset("fc/fc/kernel:0", (30_000, 20_000), np.float16)
        with pytest.raises(StageError, match="2400000000 bytes"):
            check_weights(file, "large.h5")


def test_a_tensor_that_no_machine_should_compute_is_named(tmp_path: Path):
    image = keras.Input((64, 64, 3))
    x = keras.layers.UpSampling2D(48, name="far_too_large")(keras.layers.Conv2D(16, 1)(image))
    keras.Model(image, x).save(tmp_path / "model.h5")
    with pytest.raises(StageError, match="far_too_large"):
        build_inference(read_model(tmp_path / "model.h5"))


def test_a_stateful_layer_starts_from_zeros_and_it_is_told(tmp_path: Path):
    image = keras.Input((4, 3), batch_size=2)
    keras.Model(image, keras.layers.LSTM(3, stateful=True, use_cudnn=False, name="memory")(image)).save(
        tmp_path / "model.h5"
    )
    source = read_model(tmp_path / "model.h5")
    (note,) = build_inference(source).notes
    assert note.startswith("memory is stateful")


def test_unrolling_too_many_steps_is_refused(tmp_path: Path):
    image = keras.Input((5000, 3))
    keras.Model(image, keras.layers.LSTM(3, use_cudnn=False, name="long")(image)).save(tmp_path / "model.h5")
    with pytest.raises(StageError, match="5000"):
        build_inference(read_model(tmp_path / "model.h5"), unroll=True)


def short_loop(folder: Path) -> Path:
    image = keras.Input((6, 5), name="x")
    x = keras.layers.Reshape((-1, 1), name="r")(image)
    keras.Model(image, keras.layers.SimpleRNN(2, unroll=True, name="long")(x)).save(folder / "m.h5")
    return folder / "m.h5"


def test_an_unrolled_loop_behind_a_reshape_is_refused_before_it_is_built(tmp_path: Path):
    """The scan knows the shapes of inputs alone; the weights of 30 steps do for 3000."""
    path = short_loop(tmp_path)
    assert build_inference(read_model(path)).outputs[0].shape == (None, 2)
    with h5py.File(path, "r+") as file:
        text = file.attrs["model_config"]
        file.attrs["model_config"] = text.replace("[null, 6, 5]", "[null, 60, 50]")
        assert file.attrs["model_config"] != text
    begin = time.monotonic()
    with pytest.raises(StageError, match=r"(?s)'long' \(SimpleRNN\) has too many steps.*3000 steps"):
        build_inference(read_model(path))
    assert time.monotonic() - begin < 10


def test_a_kernel_for_each_position_has_a_limit_where_the_layer_stands(tmp_path: Path):
    image = tf_keras.Input((12, 12, 1), name="x")
    x = tf_keras.layers.UpSampling2D(2, name="larger")(image)
    tf_keras.Model(image, tf_keras.layers.LocallyConnected2D(1, 24, implementation=2, name="local")(x)).save(
        tmp_path / "m.h5"
    )
    assert build_inference(read_model(tmp_path / "m.h5")).outputs[0].shape == (None, 1, 1, 1)
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace('"size": [2, 2]', '"size": [20, 20]')
    with pytest.raises(StageError, match=r"(?s)'local' \(LocallyConnected2D\).*57600"):
        build_inference(read_model(tmp_path / "m.h5"))


def test_steps_that_are_free_cannot_be_unrolled(tmp_path: Path):
    image = keras.Input((None, 3))
    keras.Model(image, keras.layers.LSTM(3, use_cudnn=False, name="free")(image)).save(tmp_path / "model.h5")
    with pytest.raises(StageError, match=r"(?s)'free'.*any number of steps"):
        build_inference(read_model(tmp_path / "model.h5"), unroll=True)
