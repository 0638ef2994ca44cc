"""Models of Keras 3 that are traced: the graph that Keras 2 builds where it can, right numbers where it cannot."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
from battery import PATTERNS
from conversion import OLDEST, assert_within, optimized, outputs
from keras import layers, ops
from keras.src.applications.convnext import ConvNeXt
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

from dnndk_prep import cli
from dnndk_prep.errors import ModelFileError, StageError, UnsafeFileError, UsageError
from dnndk_prep.graph.artifact import GraphArtifact, serialize
from dnndk_prep.graph.freeze import freeze
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.keras_io.custom import load_custom_objects
from dnndk_prep.keras_io.inference import InferenceGraph, build_inference, renamed
from dnndk_prep.keras_io.load import read_model
from dnndk_prep.keras_io.traced import traced

WHY = ModelFileError("the model is traced", found="by the test")
RANDOM = np.random.default_rng(4)
# Models that Keras 2 builds as well; a trace of them ends in the same ops.
BOTH_WAYS = (
    "convolution",
    "separable convolution",
    "depthwise convolution, multiplier 2",
    "grouped convolution",
    "transposed convolution",
    "max pooling, VALID",
    "average pooling, SAME",
    "zero padding, each side another",
    "up-sampling, nearest",
    "up-sampling, nearest, 3x2, fixed batch",
    "up-sampling, bilinear",
    "resize, nearest, half pixels, no whole factor",
    "batch norm alone",
    "batch norm with neither",
    "dense",
    "flatten and dense",
    "silu",
    "PReLU",
    "residual sums",
    "squeeze-excite",
    "nested models",
    "shared layer",
    "several inputs and outputs",
    "outputs in a dict",
    "operators between layers",
)


def graph_of(built: InferenceGraph, feeds: list[np.ndarray]) -> GraphArtifact:
    names = [spec.name for spec in built.outputs]
    graph_def = freeze(built.graph_def, built.variables, names, inputs=[spec.name for spec in built.inputs])
    return optimized(GraphArtifact(graph_def, built.inputs, built.outputs, OLDEST), feeds)


def kinds(artifact: GraphArtifact) -> Counter[str]:
    return Counter(node.op for node in artifact.graph_def.node)


def saved(model: Any, folder: Path, suffix: str = "h5") -> Path:
    model.save(folder / f"m.{suffix}")
    return folder / f"m.{suffix}"


def seeded(model: Any) -> Any:
    model.set_weights([RANDOM.uniform(0.2, 0.8, value.shape).astype(value.dtype) for value in model.get_weights()])
    return model


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_a_trace_becomes_the_graph_that_keras_2_builds(tmp_path: Path, name: str):
    (pattern,) = [pattern for pattern in PATTERNS if pattern.name == name]
    feeds = pattern.feeds()
    source = read_model(saved(pattern.model(keras), tmp_path))
    built, made = build_inference(source), traced(source, WHY)
    assert built.traced == ""
    assert made.input_layers == built.input_layers
    assert made.output_layers == built.output_layers
    of_keras2, of_trace = graph_of(built, feeds), graph_of(made, feeds)
    assert kinds(of_trace) == kinds(of_keras2)
    assert of_trace.inputs == of_keras2.inputs
    assert [spec.shape for spec in of_trace.outputs] == [spec.shape for spec in of_keras2.outputs]
    assert_within(outputs(of_trace, feeds), outputs(of_keras2, feeds))


def test_nodes_are_called_after_their_layers(tmp_path: Path):
    image = keras.Input((8, 8, 3), name="image")
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, groups=1, name="conv1")(image))
    x = layers.Dense(3, activation="softmax", name="prob")(layers.Flatten(name="flat")(layers.ReLU(name="act")(x)))
    source = read_model(saved(keras.Model(image, x * 0.5), tmp_path))
    built, made = build_inference(source), traced(source, WHY)
    frozen_names = [{n.name for n in one.graph_def.node if n.op not in ("Const", "Identity")} for one in (built, made)]
    assert {"conv1/Conv2D", "conv1/BiasAdd", "bn/FusedBatchNormV3", "act/Relu", "prob/Softmax"} <= frozen_names[1]
    assert set(built.variables) == set(made.variables)
    assert [spec.name for spec in made.inputs] == ["image"]
    feeds = [RANDOM.random((2, 8, 8, 3)).astype(np.float32)]
    names = [{n.name for n in graph_of(one, feeds).graph_def.node if n.op != "Const"} for one in (built, made)]
    assert names[0] == names[1]


class Scaled(layers.Layer):
    """A layer of a user's with a layer inside and a weight without an axis."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.inner = units, layers.Dense(units)

    def build(self, shape: Any) -> None:
        self.inner.build(shape)
        self.gain = self.add_weight(shape=(), initializer="ones", name="gain")

    def call(self, x: Any) -> Any:
        return ops.sin(self.inner(x)) * self.gain

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def of_masks(x: Any) -> Any:
    return ops.cumsum(layers.LSTM(3)(x, mask=ops.sum(x, axis=-1) > 2), axis=-1)


ONLY_TRACED: dict[str, Callable[[Any], Any]] = {
    "activations": lambda x: [layers.Activation(name)(layers.Dense(4)(x)) for name in ("celu", "glu", "squareplus")],
    "operations": lambda x: ops.cumsum(ops.einsum("abc,abd->acd", x, layers.Dense(2)(x)), axis=1),
    "linear algebra": lambda x: ops.norm(x, axis=-1) + ops.logsumexp(x, axis=-1),
    "attention": lambda x: layers.GroupQueryAttention(3, 4, 2)(x, x),
    "pooling": lambda x: layers.AdaptiveMaxPooling1D(2)(x),
    "a computed mask": of_masks,
    "recurrent layers": lambda x: ops.cumsum(layers.Bidirectional(layers.GRU(3, return_sequences=True))(x), axis=1),
    "two outputs of one": lambda x: list(ops.top_k(ops.cumsum(x, axis=1), 2)),
    "the input": lambda x: {"same": x, "sum": ops.cumsum(x, axis=1)},
}


@pytest.mark.parametrize("suffix", ["h5", "keras"])
@pytest.mark.parametrize("name", ONLY_TRACED)
def test_what_keras_2_lacks(tmp_path: Path, name: str, suffix: str):
    x = keras.Input((6, 4), name="x")
    model = seeded(keras.Model(x, ONLY_TRACED[name](x)))
    feeds = [RANDOM.normal(0.2, 1, (3, 6, 4)).astype(np.float32)]
    built = build_inference(read_model(saved(model, tmp_path, suffix)))
    assert built.traced
    graph = graph_of(built, feeds)
    assert not graph.graph_def.library.function
    assert not {"While", "StatelessWhile", "TensorListReserve", "Einsum"} & set(kinds(graph))
    wanted = keras.tree.flatten(model(feeds[0], training=False))
    assert_within(outputs(graph, feeds), [np.asarray(value) for value in wanted])


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_the_layers_of_applications(tmp_path: Path, suffix: str):
    """ConvNeXt's LayerScale and Inception-ResNet's CustomScaleLayer; Keras 2 has both, and so needs no trace."""
    body = ConvNeXt(
        [1, 1, 1, 1], [4, 4, 4, 8], weights=None, input_shape=(32, 32, 3), include_top=False, name="convnext"
    )
    x = body.output
    y = CustomScaleLayer(0.3, name="scaled")([x, layers.Conv2D(8, 1)(x)])
    model = seeded(keras.Model(body.input, layers.GlobalAveragePooling2D()(y)))
    feeds = [RANDOM.uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)]
    source = read_model(saved(model, tmp_path, suffix))
    built = build_inference(source)
    assert built.traced == ""
    wanted = [model.predict(feeds[0], verbose=0)]
    assert_within(outputs(graph_of(built, feeds), feeds), wanted)
    assert_within(outputs(graph_of(traced(source, WHY), feeds), feeds), wanted)


def test_the_same_file_gives_the_same_graph(tmp_path: Path):
    x = keras.Input((6, 4), name="x")
    model = keras.Model(x, ops.cumsum(Scaled(3)(x), axis=1))
    path = saved(model, tmp_path)
    (tmp_path / "own.py").write_text(f"from {Scaled.__module__} import Scaled\n")
    custom = load_custom_objects(["own:Scaled"], tmp_path)
    first = build_inference(read_model(path, custom))
    keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(3)])
    second = build_inference(read_model(path, custom))
    assert serialize(first.graph_def) == serialize(second.graph_def)
    assert all(np.array_equal(first.variables[name], second.variables[name]) for name in second.variables)
    feeds = [RANDOM.random((2, 6, 4)).astype(np.float32)]
    assert_within(outputs(graph_of(first, feeds), feeds), [model.predict(feeds[0], verbose=0)])


OWN = """
import keras


class Waves(keras.layers.Layer):
    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), initializer="ones", name="gain")

    def call(self, x):
        return keras.ops.sin(x * self.gain)
"""


def test_the_pipeline_traces_a_users_layer_where_it_is_let_in(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "waves.py").write_text(OWN)
    (waves,) = load_custom_objects(["waves:Waves"], tmp_path).objects
    image = keras.Input((8, 8, 3), name="image")
    x = waves(name="waves")(layers.Conv2D(4, 3, name="conv1")(image))
    seeded(keras.Model(image, layers.Dense(2, name="out")(layers.Flatten()(x)))).save(tmp_path / "m.keras")
    sys.modules.pop("waves")
    (tmp_path / "pipeline.yaml").write_text("model: {path: m.keras, custom_objects: ['waves:Waves']}\n")
    command = ["run", str(tmp_path / "pipeline.yaml"), "--to", "optimize_for_inference"]
    assert cli.main(command) == 2
    assert cli.main([*command, "--allow-custom-code"]) == 0
    told = capsys.readouterr()
    assert "traced by Keras 3" in told.out + told.err
    facts = json.loads((tmp_path / "workspace" / "keras_2_tf" / "stage.json").read_text())
    assert "waves" in json.dumps(facts).split('"traced"')[1][:200]
    graph = GraphArtifact.load(tmp_path / "workspace" / "optimize_for_inference")
    assert {"conv1/Conv2D", "conv1/BiasAdd", "waves/Sin", "out/BiasAdd"} <= {node.name for node in graph.graph_def.node}


def test_a_layer_that_cannot_be_traced_is_told_with_its_words(tmp_path: Path):
    text = OWN.replace("def call(self, x):", "def call(self, x, training=None):")
    where = "        return keras.ops.sin(x * self.gain)"
    fails = "        if training is False:\n            raise ValueError('it only trains')\n" + where
    (tmp_path / "trains.py").write_text(text.replace(where, fails))
    (tmp_path / "broken.py").write_text(text.replace(where, "        return x.missing"))
    (trains,) = load_custom_objects(["trains:Waves"], tmp_path).objects
    x = keras.Input((4,))
    path = saved(keras.Model(x, trains(name="waves")(x)), tmp_path)
    for module, said in (("trains", "Keras 3 cannot trace.*it only trains"), ("broken", "cannot open.*Waves")):
        with pytest.raises(ModelFileError, match=rf"(?s){said}"):
            build_inference(read_model(path, load_custom_objects([f"{module}:Waves"], tmp_path)))


def test_python_inside_a_layer_is_refused(tmp_path: Path):
    text = OWN.replace("import keras\n", "import keras\nimport tensorflow as tf\n")
    called = "return tf.ensure_shape(tf.py_function(lambda a: a, [x], tf.float32), x.shape) * self.gain"
    (tmp_path / "snake.py").write_text(text.replace("return keras.ops.sin(x * self.gain)", called))
    custom = load_custom_objects(["snake:Waves"], tmp_path)
    x = keras.Input((4,))
    path = saved(keras.Model(x, custom.objects[0](name="waves")(x)), tmp_path)
    with pytest.raises(UnsafeFileError, match="PyFunc"):
        build_inference(read_model(path, custom))


def test_a_layer_that_reads_what_it_wrote_is_refused(tmp_path: Path):
    text = OWN.replace("        return", "        self.gain.assign_add(keras.ops.ones_like(self.gain))\n        return")
    (tmp_path / "counter.py").write_text(text)
    custom = load_custom_objects(["counter:Waves"], tmp_path)
    x = keras.Input((4,))
    path = saved(keras.Model(x, custom.objects[0](name="waves")(x)), tmp_path)
    with pytest.raises(ModelFileError, match=r"(?s)writes its variable waves/gain, and reads it again"):
        build_inference(read_model(path, custom))


def test_a_learning_phase_cannot_be_fed_to_a_trace(tmp_path: Path):
    x = keras.Input((4,))
    path = saved(keras.Model(x, layers.Dropout(0.5)(ops.cumsum(x, axis=1))), tmp_path)
    with pytest.raises(StageError, match=r"(?s)learning phase.*Cumsum"):
        build_inference(read_model(path), feed_learning_phase=True)


def test_an_op_with_several_outputs_gets_one_new_name(tmp_path: Path):
    x = keras.Input((8, 8, 4), name="x")
    model = keras.Model(x, ops.split(layers.Conv2D(4, 3, name="conv")(x), 2, axis=-1))
    built = build_inference(read_model(saved(model, tmp_path)))
    first, second = built.output_layers
    new = renamed(built, {}, {first: "parts"})
    assert [spec.name for spec in new.outputs] == ["parts", "parts:1"]
    feeds = [RANDOM.random((2, 8, 8, 4)).astype(np.float32)]
    assert_within(outputs(graph_of(new, feeds), feeds), model.predict(feeds[0], verbose=0))
    with pytest.raises(UsageError, match="a further output"):
        renamed(built, {}, {second: "other"})


def test_a_random_crop_is_what_keras_3_makes_of_it(tmp_path: Path):
    """Keras 3 crops nothing in inference, where Keras 2 takes the middle."""
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, layers.RandomCrop(4, 4)(layers.Conv2D(2, 3)(x)))
    feeds = [RANDOM.random((2, 8, 8, 3)).astype(np.float32)]
    built = build_inference(read_model(saved(model, tmp_path)))
    assert_within(outputs(graph_of(built, feeds), feeds), [model.predict(feeds[0], verbose=0)])


def test_layers_that_augment_images_hand_them_on_whatever_the_phase(tmp_path: Path):
    x = keras.Input((8, 8, 3), name="x")
    model = keras.Model(x, layers.Dropout(0.5)(layers.RandomFlip()(x)))
    feeds = [RANDOM.random((2, 8, 8, 3)).astype(np.float32)]
    built = build_inference(read_model(saved(model, tmp_path)), feed_learning_phase=True)
    with GraphRunner(built.graph_def, [spec.name for spec in built.outputs]) as runner:
        assert np.array_equal(runner.run({"x": feeds[0]})[0], feeds[0])
        trained = runner.run({"x": feeds[0], "keras_learning_phase": np.array(True)})[0]
    assert np.array_equal(trained[trained != 0], 2 * feeds[0][trained != 0])


def test_loops_of_a_trace_are_unrolled_where_asked(tmp_path: Path):
    x = keras.Input((3, 4))
    model = seeded(keras.Model(x, ops.cumsum(layers.LSTM(2)(x), axis=1)))
    feeds = [RANDOM.random((2, 3, 4)).astype(np.float32)]
    built = build_inference(read_model(saved(model, tmp_path)), unroll=True)
    graph = graph_of(built, feeds)
    assert "Enter" not in kinds(graph)
    assert_within(outputs(graph, feeds), [model.predict(feeds[0], verbose=0)])
