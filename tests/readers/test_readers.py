"""Frozen and optimized graphs in the real old TensorFlows, held against Keras' own predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.freeze import freeze
from dnndk_prep.graph.readers import for_reader
from dnndk_prep.graph.rewrite import optimize
from dnndk_prep.keras_io.checkpoint import CHECKPOINT, write_checkpoint
from dnndk_prep.keras_io.inference import InferenceGraph, build_inference
from dnndk_prep.keras_io.load import read_model

IMAGE = (16, 16, 3)


@dataclass
class Case:
    """A model's graphs, one batch, and what Keras predicts for it."""

    built: InferenceGraph
    frozen: GraphArtifact
    feeds: dict[str, np.ndarray]
    predicted: list[np.ndarray]

    def at(self, version: str, optimized: bool) -> GraphArtifact:
        artifact = optimize(self.frozen, self.feeds)[0] if optimized else self.frozen
        keep = frozenset([*artifact.input_names, *artifact.output_names])
        return replace(artifact, graph_def=for_reader(artifact.graph_def, version, keep), reader=version)


def conv_bn(x, filters=8, activation="relu", **options):
    x = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same", **options)(x))
    return layers.Activation(activation)(x)


def blocks(x):
    x = conv_bn(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, depth_multiplier=2)(x)))
    x = layers.BatchNormalization()(layers.SeparableConv2D(8, 3, strides=2, padding="same")(x))
    x = layers.Dropout(0.3)(layers.Flatten()(layers.MaxPooling2D()(x)))
    return layers.Dense(4, activation="softmax")(layers.BatchNormalization()(layers.Dense(6)(x)))


def joins(x):
    a, b = conv_bn(x), conv_bn(x, activation="linear", use_bias=False)
    x = layers.Concatenate()([layers.Add()([a, b]), layers.AveragePooling2D(3, strides=1, padding="same")(a)])
    x = layers.BatchNormalization(scale=False)(x)
    return layers.GlobalAveragePooling2D()(layers.LeakyReLU(negative_slope=0.1)(x))


def upward(x):
    x = conv_bn(x, strides=2)
    x = layers.BatchNormalization(center=False)(layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x))
    x = layers.ZeroPadding2D(((1, 0), (0, 2)))(x)
    return layers.Softmax()(layers.Conv2D(2, 1)(layers.UpSampling2D(2)(x)))


def dilated(x):
    x = layers.BatchNormalization()(layers.Conv2D(6, 3, dilation_rate=2, padding="same")(x))
    return layers.PReLU(shared_axes=[1, 2])(x)


def squeeze_excite(x):
    x = conv_bn(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(layers.Conv2D(2, 1, activation="relu")(gate))
    return layers.Multiply()([x, gate])


def recurrent(x):
    return layers.Dense(1, activation="sigmoid")(layers.LSTM(5)(layers.Reshape((16, 48))(x)))


MODELS: list[Callable] = [blocks, joins, upward, dilated, squeeze_excite, recurrent]


@pytest.fixture(scope="module", params=MODELS, ids=lambda network: network.__name__)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    keras.utils.set_random_seed(3)
    image = keras.Input(IMAGE, name="image")
    model = keras.Model(image, request.param(image))
    random = np.random.default_rng(5)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape).astype(np.float32) for w in layer.get_weights()])
    path = tmp_path_factory.mktemp("model") / "model.h5"
    model.save(path)
    feeds = {"image": random.uniform(0, 1, (5, *IMAGE)).astype(np.float32)}
    built = build_inference(read_model(path))
    names = [spec.name for spec in built.outputs]
    graph_def = freeze(built.graph_def, built.variables, names, inputs=["image"])
    frozen = GraphArtifact(graph_def, built.inputs, built.outputs, "1.15")
    return Case(built, frozen, feeds, [model.predict(feeds["image"], verbose=0)])


def assert_within(got: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= 1e-5 * max(1.0, np.abs(b).max())


@pytest.mark.parametrize("optimized", [False, True], ids=["frozen", "optimized"])
def test_the_graph_loads_and_gives_what_keras_predicts(reader, case: Case, optimized: bool):
    assert_within(reader.run(case.at(reader.version, optimized), case.feeds), case.predicted)


def test_a_graph_for_the_oldest_is_read_by_all(reader, case: Case):
    assert_within(reader.run(case.at("1.9", True), case.feeds), case.predicted)


def test_the_checkpoint_restores(reader, case: Case, tmp_path: Path):
    """The checkpoint and the frozen graph's kept variable are loaded by the old Saver's own ops."""
    graph_def = write_checkpoint(tmp_path / CHECKPOINT, case.built.graph_def, case.built.variables)
    kept = next(iter(case.built.variables))
    frozen = freeze(graph_def, case.built.variables, case.frozen.output_names, [kept], inputs=["image"])
    restore = next(node.name for node in frozen.node if node.name.endswith("restore_all"))
    scope = restore.rpartition("/")[0]
    everything = frozenset(node.name for node in frozen.node)
    artifact = replace(case.frozen, graph_def=for_reader(frozen, reader.version, everything))
    (tmp_path / "kept.pb").write_bytes(artifact.graph_def.SerializeToString())
    task = {
        "graph": str(tmp_path / "kept.pb"),
        "restore": {"op": restore, "file": f"{scope}/Const:0", "checkpoint": str(tmp_path / CHECKPOINT)},
    }
    assert_within(reader.ask(task, case.feeds, artifact.output_names), case.predicted)


@pytest.mark.parametrize("case", [blocks], indirect=True, ids=["blocks"])
def test_without_the_rules_they_refuse_todays_graph(reader, case: Case):
    with pytest.raises(AssertionError, match=r"attr 'e|FusedBatchNormV3"):
        reader.run(case.frozen, case.feeds)
