"""The bundle for TensorFlow 2: its texts word for word, its compiler's arguments, and what has no form in it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import bundles
import h5py
import keras
import numpy as np
import pytest
from battery.patterns import seed_weights
from keras import layers, ops

from dnndk_prep.dpu import targets
from dnndk_prep.errors import ModelFileError
from dnndk_prep.export.vitis_ai_tf2 import FLOAT_MODEL, FloatModel, write_bundle
from dnndk_prep.export.vitis_ai_tf2.releases import RELEASES
from dnndk_prep.export.vitis_ai_tf2.troubles import troubles
from dnndk_prep.graph.artifact import TensorSpec
from dnndk_prep.keras_io.load import read_model

PROB = TensorSpec("prob", (None, 10), "float32")
BATCH = {"image": np.zeros((10, 32, 32, 3), np.float32)}


def saved(model: keras.Model, folder: Path) -> FloatModel:
    model.save(folder / "model.keras")
    return FloatModel.of(read_model(folder / "model.keras"), [tensor.name for tensor in model.inputs])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    parts = [layers.Input((32, 32, 3), name="image"), layers.Conv2D(10, 3, name="conv")]
    parts += [layers.GlobalAveragePooling2D(name="gap"), layers.Softmax(name="prob")]
    return saved(keras.Sequential(parts, name="tiny"), tmp_path_factory.mktemp("model"))


def bundle_of(model: FloatModel, root: Path, toolchain: str) -> Path:
    board = "ultra96" if toolchain == "vitis-ai-1.3" else "zcu104"
    one = bundles.spec(bundles.calibration(root / "calib_input"), board, toolchain, outputs=(PROB,))
    write_bundle(root / "bundle", one, model, BATCH)
    return root / "bundle"


@pytest.mark.parametrize("toolchain", ["vitis-ai-3.5", "vitis-ai-1.3"])
def test_texts(toolchain, model, tmp_path, golden):
    folder = bundle_of(model, tmp_path, toolchain)
    for name in ("README.md", "quantize.py", "compile.sh", "check.py", "arch.json"):
        text = (folder / name).read_text()
        golden(f"tf2-{toolchain}/{name}.txt" if name.endswith(".py") else f"tf2-{toolchain}/{name}", text)


def test_every_release_from_1_3_on_has_one():
    xmodel = [
        name for name in targets.releases() if targets.release(name, {"board_source": ""}).compiles_to == "xmodel"
    ]
    assert list(RELEASES) == xmodel


def test_the_file_is_one_functional_model_without_training_settings(model, tmp_path):
    folder = bundle_of(model, tmp_path, "vitis-ai-3.5")
    assert [path.name for path in folder.glob("*.h5")] == [FLOAT_MODEL]
    with h5py.File(folder / FLOAT_MODEL) as file:
        config = json.loads(file.attrs["model_config"])
        assert "training_config" not in file.attrs
        assert "optimizer_weights" not in file
    assert config["class_name"] == "Functional"
    assert "initializer" not in json.dumps(config)
    model.write(tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (folder / FLOAT_MODEL).read_bytes()


def test_the_compiler_gets_its_arguments(model, tmp_path):
    folder = bundle_of(model, tmp_path, "vitis-ai-3.5")
    tool = tmp_path / "bin" / "vai_c_tensorflow2"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    env = {"PATH": f"{tool.parent}:/usr/bin:/bin"}
    refused = subprocess.run([folder / "compile.sh"], env=env, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "quantized_model.h5 is not here; run python quantize.py first" in refused.stderr
    (folder / "quantize_results").mkdir()
    (folder / "quantize_results" / "quantized_model.h5").touch()
    tool.chmod(0o755)
    done = subprocess.run([folder / "compile.sh"], env=env, capture_output=True, text=True, check=True)
    wanted = "-m quantize_results/quantized_model.h5 -a arch.json -o compile -n tiny_cnn"
    assert done.stdout.splitlines()[:-1] == wanted.split()


def test_what_the_quantizer_would_lose_or_stop_at_is_written_so_that_it_does_not(tmp_path):
    image = layers.Input((8, 8, 3), name="image")
    x = layers.SeparableConv2D(4, 3, activation="relu", name="sep")(image)
    x = layers.BatchNormalization(center=False, name="norm")(layers.Conv2D(4, 1, name="conv")(x))
    x = layers.BatchNormalization(name="after")(layers.DepthwiseConv2D(3, depth_multiplier=2, name="wide")(x))
    model = keras.Model(image, x)
    seed_weights(model)
    written = saved(model, tmp_path)
    kinds = {layer.name: type(layer).__name__ for layer in written.model.layers}
    assert (kinds["sep"], kinds["sep_activation"]) == ("SeparableConv2D", "Activation")
    assert written.model.get_layer("sep").activation.__name__ == "linear"
    assert written.model.get_layer("norm").center
    data = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    facts = written.proven([data], [np.asarray(model(data, training=False))])
    assert facts["max_abs_diff"] <= 1e-6
    (text,) = troubles(written.architecture)
    assert "the batch norm after into wide, a depthwise convolution of depth_multiplier 2" in text


def test_all_layers_without_a_form_are_named(tmp_path):
    x = image = layers.Input((8, 8, 4), name="image")
    x = layers.GroupNormalization(2, name="groups")(x)
    x = layers.UnitNormalization(name="unit")(ops.flip(x, axis=1))
    with pytest.raises(ModelFileError) as caught:
        saved(keras.Model(image, x), tmp_path)
    # Keras numbers an operation of which there was one before.
    named = r"groups: GroupNormalization; flip(_\d+)?: the operation flip; unit: UnitNormalization"
    assert re.fullmatch(named, caught.value.found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0"])
def test_ordinary_models_have_a_form(name, tmp_path):
    image = layers.Input((32, 32, 3), name="image")
    model = getattr(keras.applications, name)(weights=None, input_tensor=image, classes=4)
    seed_weights(model)
    written = saved(model, tmp_path)
    # Weights that are set do not reach a Normalization; those that are loaded do.
    model = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    facts = written.proven([x], [np.asarray(model(x, training=False))])
    assert facts["max_abs_diff"] <= facts["tolerance"]
