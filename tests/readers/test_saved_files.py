"""The files that a whole run saves, as the old TensorFlows read them from the disk."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from packaging.version import Version

from dnndk_prep import cli
from dnndk_prep.graph.artifact import GraphArtifact

# Folder: the oldest TensorFlow it is written for. That of the stages is graph.reader's default; a bundle's is the one
# in the containers of its toolchain, in whose spelling (LeakyRelu, AddV2) its quantizer wants the graph.
FOLDERS = {"freeze_graph": "1.9", "optimize_for_inference": "1.9", "export/dnndk": "1.12", "export/vitis_ai": "1.15"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over a model of convolutions of every kind, with batch norms that fold and one that stays."""
    folder = tmp_path_factory.mktemp("saved")
    keras.utils.set_random_seed(1)
    image = x = keras.Input((32, 32, 3), name="image")
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, padding="same")(x)))
    side = layers.LeakyReLU(negative_slope=0.1)(layers.Conv2D(8, 3, dilation_rate=2, padding="same")(x))
    x = layers.BatchNormalization()(layers.Add()([layers.DepthwiseConv2D(3, padding="same")(x), side]))
    x = layers.Dropout(0.5)(layers.Flatten()(layers.MaxPooling2D(2)(x)))
    keras.Model(image, layers.Dense(10, activation="softmax")(x)).save(folder / "net.keras")
    (folder / "pipeline.yaml").write_text("model: {path: net.keras}\npreprocess: {scale: 0.00392156862745098}\n")
    assert cli.main(["run", str(folder / "pipeline.yaml")]) == 0
    return folder / "workspace"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_saved_graph_gives_what_keras_predicted(reader, workspace: Path, folder: str):
    artifact = GraphArtifact.load(workspace / folder)
    assert artifact.reader == FOLDERS[folder]
    if Version(reader.version) < Version(artifact.reader):
        pytest.skip(f"written for TensorFlow {artifact.reader}")
    (path,) = (workspace / folder).glob("*.pb")
    with np.load(workspace / "keras_2_tf" / "reference.npz") as reference:
        feeds = {name: reference[f"probe/{name}"] for name in artifact.input_names}
        wanted = reference["probe_output/0"]
    outputs = reader.ask({"graph": str(path)}, feeds, artifact.output_names)
    assert np.abs(outputs[0] - wanted).max() <= 1e-5
