"""What files may hold: operations, names, weights without an architecture, settings and layers that nobody knows."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf
import tf_keras
from conversion import assert_within, frozen, optimized, outputs
from keras import layers, ops

from dnndk_prep import cli
from dnndk_prep.errors import ModelFileError, UnsafeFileError, UsageError
from dnndk_prep.keras_io.custom import load_custom_objects
from dnndk_prep.keras_io.inference import build_inference
from dnndk_prep.keras_io.load import KerasSource, read_architecture_weights, read_model
from dnndk_prep.keras_io.plain_layers import SpectralNormalization
from dnndk_prep.keras_io.predict import Predictor, probe_batch
from dnndk_prep.keras_io.through_keras import first_line, untrained_hdf5
from dnndk_prep.stages._model import read_source

SHAPE = (4, 4, 8)
RANDOM = np.random.default_rng(3)
FEEDS = [RANDOM.uniform(-2, 2, (3, *SHAPE)).astype(np.float32) for _ in "xy"]


def whole(x: Any) -> Any:
    """Whole numbers that are not negative, and not zero."""
    return ops.cast(ops.abs(x) * 2 + 1, "int32")


# Each gives one tensor or several.
KERAS3_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "arithmetic": lambda x, y: [
        x * 0.5 + y,
        1 - x,
        x / 127.5 - 1,
        1 / (ops.abs(x) + 2),
        -(x**2),
        x * FEEDS[0][0, 0, 0],
    ],
    "whole_numbers": lambda x, y: [ops.cast(x, "int32") + 0.5, ops.cast(x, "int32") * 2, ops.cast(x, "int32") / 2],
    "promoted": lambda x, y: [
        *(ops.mean(ops.cast(x * 5, "int32"), -1), ops.prod(ops.cast(x * 2, "int8"), -1), ops.sqrt(whole(x))),
        *(ops.sum(x > y, -1), ops.square(x > y), ops.var(whole(x), axis=-1), ops.exp(ops.cast(x, "int32"))),
        *(whole(x) / whole(y), ops.cast(x * 5, "int8") + ops.cast(y * 5 + 300, "int32")),
        *(ops.concatenate([x, whole(y)], axis=1), ops.image.resize(ops.cast(whole(x) * 50, "uint8"), (7, 9))),
    ],
    "compared": lambda x, y: [
        *(x > y, x <= 0.5, ops.equal(whole(x), 1), ops.logical_and(x > 0, y > 0), ops.logical_not(x > y)),
        *(ops.where(x > y, x, 0.5), ops.any(x > 1.9, axis=-1), ops.all(x < 1.9, axis=(1, 2)), ops.std(x, axis=-1)),
    ],
    "corners": lambda x, y: [
        *(ops.softmax(x, axis=None), ops.squeeze(x[:, :1]), ops.matmul(x, np.ones(8, np.float32))),
        *(ops.concatenate([x, ops.zeros_like(y)], axis=1), ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "reflect")),
    ],
    "two": lambda x, y: [ops.maximum(x, 0.1), ops.minimum(x, y), ops.matmul(x, ops.transpose(y, (0, 1, 3, 2)))],
    "one": lambda x, y: [ops.square(x), ops.sqrt(ops.abs(x)), ops.rsqrt(ops.abs(x) + 1), ops.exp(x), ops.sign(x)],
    "activations": lambda x, y: [
        *(ops.relu(x), ops.relu6(x * 9), ops.leaky_relu(x, 0.1), ops.sigmoid(x), ops.tanh(x), ops.silu(x), ops.elu(x)),
        *(ops.hard_sigmoid(x), ops.hard_silu(x), ops.softplus(x), ops.softsign(x), ops.selu(x), ops.gelu(x)),
        *(ops.elu(x, 0.5), ops.gelu(x, approximate=False), ops.log(ops.abs(x) + 1)),
        *(ops.softmax(x, axis=-1), ops.log_softmax(x, axis=-1), ops.stop_gradient(x)),
    ],
    "reductions": lambda x, y: [
        *(ops.mean(x, axis=(1, 2), keepdims=True), ops.sum(x, axis=-1), ops.max(x, axis=1), ops.min(x, axis=(1, 2))),
        *(ops.prod(x, axis=1), ops.var(x, axis=1), ops.argmax(x, axis=-1), ops.clip(x * 9, 0, 6), ops.clip(x, -1, 1)),
    ],
    "shapes": lambda x, y: [
        *(ops.reshape(x, (-1, 128)), ops.transpose(x, (0, 2, 1, 3)), ops.swapaxes(x, 1, -1), ops.expand_dims(x, 1)),
        *(ops.squeeze(ops.mean(x, axis=1, keepdims=True), axis=1), ops.flip(x, axis=1), ops.tile(x, [1, 2, 1, 1])),
        *(ops.concatenate([x, y], axis=-1), ops.stack([x, y], axis=1), ops.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]])),
    ],
    "parts": lambda x, y: [
        *(
            x[:, 1:3, ..., ::2],
            x[:, 0],
            x[:, None],
            x[..., -1],
            *ops.split(x, 2, axis=-1),
            *ops.split(x, [1, 3], axis=1),
        ),
        *ops.unstack(x, axis=1),
    ],
    "pools": lambda x, y: [ops.max_pool(x, 2), ops.average_pool(x, 3, strides=2, padding="same")],
}

TENSORFLOW_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "arithmetic": lambda x, y: [x * 0.5 + y, 1.0 - x, x / 127.5 - 1, 1.0 / (abs(x) + 2), -(x**2), x * [1.0] * 8],
    "functions": lambda x, y: [
        *(tf.add_n([x, y]), tf.maximum(x, 0.1), tf.minimum(x, y), tf.sqrt(tf.abs(x)), tf.square(x), tf.exp(x)),
        *(tf.math.rsqrt(tf.abs(x) + 1.0), tf.sign(x), tf.linalg.matmul(x, tf.transpose(y, (0, 1, 3, 2)))),
    ],
    "compared": lambda x, y: [
        *(x > y, x <= 0.5, tf.where(x > y, x, y), tf.logical_and(x > 0.0, y > 0.0), tf.reduce_any(x > 1.9, -1)),
        *(tf.matmul(x, y, transpose_b=True), tf.math.reduce_std(x, -1), tf.math.squared_difference(x, y)),
        *(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"), tf.squeeze(x[:, :1]), tf.argmax(x, 1)),
    ],
    "promoted": lambda x, y: [
        tf.reduce_mean(tf.cast(x * 5.0, tf.int32), -1),
        tf.cast(x * 5.0, tf.int32) / (tf.cast(y, tf.int32) + 10),
    ],
    "activations": lambda x, y: [
        *(
            tf.nn.relu(x),
            tf.nn.relu6(x * 9),
            tf.nn.leaky_relu(x),
            tf.sigmoid(x),
            tf.tanh(x),
            tf.nn.silu(x),
            tf.nn.elu(x),
        ),
        *(tf.nn.softplus(x), tf.nn.softsign(x), tf.nn.selu(x), tf.nn.gelu(x), tf.nn.softmax(x), tf.nn.log_softmax(x)),
    ],
    "reductions": lambda x, y: [
        *(tf.reduce_mean(x, [1, 2], True), tf.reduce_sum(x, -1), tf.reduce_max(x, 1), tf.reduce_min(x, [1, 2])),
        *(tf.reduce_prod(x, 1), tf.argmax(x, -1), tf.clip_by_value(x * 9, 0, 6), tf.math.l2_normalize(x, -1)),
    ],
    "shapes": lambda x, y: [
        *(
            tf.reshape(x, (-1, 128)),
            tf.expand_dims(x, 1),
            tf.squeeze(tf.reduce_mean(x, 1, True), 1),
            tf.reverse(x, [1]),
        ),
        *(tf.concat([x, y], -1), tf.stack([x, y], 1), tf.cast(tf.cast(x, tf.int32), "float32"), tf.identity(x) + 1.0),
        *(tf.nn.depth_to_space(x, 2), tf.nn.space_to_depth(x, 2)),
    ],
    "parts": lambda x, y: [x[:, 1:3, ..., ::2], x[:, 0], x[:, None], *tf.split(x, [3, 5], -1), *tf.unstack(x, axis=1)],
    "pools": lambda x, y: [tf.nn.max_pool2d(x, 2, 2, "VALID"), tf.nn.avg_pool2d(x, 3, 2, "SAME")],
}


def as_floats(values: list[np.ndarray]) -> list[np.ndarray]:
    return [value.astype(np.float64) for value in values]


def assert_same_types(got: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    assert [value.dtype for value in got] == [value.dtype for value in wanted]


def converted(path: Path, feeds: list[np.ndarray] = FEEDS) -> list[np.ndarray]:
    return outputs(frozen(read_model(path)), feeds)


def several(predicted: Any) -> list[np.ndarray]:
    return list(predicted) if isinstance(predicted, list | tuple) else [predicted]


@pytest.mark.parametrize("suffix", ["h5", "keras"])
@pytest.mark.parametrize("name", KERAS3_OPERATIONS)
def test_operations_of_keras_3(tmp_path: Path, name: str, suffix: str):
    x, y = keras.Input(SHAPE, name="x"), keras.Input(SHAPE, name="y")
    model = keras.Model([x, y], [*several(KERAS3_OPERATIONS[name](x, y)), layers.Add(name="last")([x, y])])
    model.save(tmp_path / f"m.{suffix}")
    wanted = several(model.predict(FEEDS, verbose=0))
    got = converted(tmp_path / f"m.{suffix}")
    assert_same_types(got, wanted)
    assert_within(as_floats(got), as_floats(wanted))
    predicted = Predictor(read_model(tmp_path / f"m.{suffix}")).predict(FEEDS)
    assert_within(as_floats(predicted), as_floats(wanted))


@pytest.mark.parametrize("name", TENSORFLOW_OPERATIONS)
def test_operations_of_keras_2(tmp_path: Path, name: str):
    x, y = tf_keras.Input(SHAPE, name="x"), tf_keras.Input(SHAPE, name="y")
    last = tf_keras.layers.Add(name="last")([x, y])
    model = tf_keras.Model([x, y], [*TENSORFLOW_OPERATIONS[name](x, y), last])
    model.save(tmp_path / "m.h5")
    wanted = several(model.predict(FEEDS, verbose=0))
    got = converted(tmp_path / "m.h5")
    assert_same_types(got, wanted)
    assert_within(as_floats(got), as_floats(wanted))


def test_operations_in_nested_models_reach_the_oldest_reader(tmp_path: Path):
    part = keras.Input(SHAPE, name="part")
    body = keras.Model(part, ops.relu(layers.Conv2D(4, 3, name="conv")(part / 127.5 - 1)) * 2.0, name="body")
    image = keras.Input(SHAPE, name="image")
    model = keras.Model(image, ops.mean(body(image) + body(image + 1.0), axis=(1, 2)))
    model.save(tmp_path / "m.h5")
    graph = optimized(frozen(read_model(tmp_path / "m.h5")), FEEDS[:1])
    assert_within(outputs(graph, FEEDS[:1]), [model.predict(FEEDS[0], verbose=0)])


def test_operations_that_have_no_form_are_named_all_at_once(tmp_path: Path):
    x = tf_keras.Input(SHAPE, name="x")
    y = tf.image.resize(tf.cumsum(tf.nn.relu(x), axis=1), (8, 8))
    tf_keras.Model(x, tf.nn.max_pool2d(y, 2, 2, "SAME", data_format="NHWC")).save(tmp_path / "m.h5")
    with pytest.raises((ModelFileError, UnsafeFileError)) as caught:
        frozen(read_model(tmp_path / "m.h5"))
    assert "cumsum" in str(caught.value)
    assert "relu" not in str(caught.value)


def with_names(image: str, a: str, b: str, c: str, body: str, inner: str, steps: str, end: str) -> Any:
    x = start = keras.Input(SHAPE, name=image)
    x = layers.BatchNormalization(name=c)(layers.Conv2D(4, 1, name=b)(layers.Conv2D(4, 3, name=a)(x)))
    part = keras.Input((2, 2, 4), name=f"{body} part")
    nested = keras.Model(part, layers.Conv2D(3, 2, name=inner)(part), name=body)
    y = layers.TimeDistributed(layers.Dense(2, name=inner), name=steps)(layers.Reshape((1, 3))(nested(x)))
    model = keras.Model(start, layers.Flatten(name=end)(y))
    random = np.random.default_rng(5)
    model.set_weights([random.uniform(0.5, 1.5, value.shape) for value in model.get_weights()])
    return model


def test_names_of_any_characters(tmp_path: Path):
    model = with_names("the image", "größe (1)", "größe [1]", "gr__e _1_", "the body", "_conv", "all steps", "±")
    # Keras 3 builds and saves such a model on any backend, but its own predict in TensorFlow takes no such names.
    wanted = with_names("image", "a", "b", "c", "body", "inner", "steps", "end").predict(FEEDS[0], verbose=0)
    for name in ("m.h5", "m.keras"):
        model.save(tmp_path / name)
        source = read_model(tmp_path / name)
        graph = frozen(source)
        assert graph.input_names == ["the_image"]
        assert_within(outputs(graph, FEEDS[:1]), [wanted])
        assert_within(Predictor(source).predict(FEEDS[:1]), [wanted])


def test_the_old_name_is_still_the_key_of_new_names(tmp_path: Path):
    image = keras.Input(SHAPE, name="the image")
    keras.Model(image, layers.Conv2D(4, 3, name="the end")(image)).save(tmp_path / "m.h5")
    (tmp_path / "pipeline.yaml").write_text(
        "model: {path: m.h5}\ngraph: {inputs: {the image: data}, outputs: {the end: result}}\n"
    )
    assert cli.main(["run", str(tmp_path / "pipeline.yaml"), "--to", "keras_2_tf"]) == 0
    graph = json.loads((tmp_path / "workspace" / "keras_2_tf" / "graph.json").read_text())
    assert graph["inputs"][0]["name"] == "data"
    assert graph["outputs"][0]["name"] == "result"


def dense(kind: Any = keras) -> Any:
    model = kind.Sequential([kind.layers.Input((4,), name="x"), kind.layers.Dense(3, name="fc")])
    model.set_weights([np.arange(12).reshape(4, 3), np.ones(3)])
    return model


ONES = [np.ones((2, 4), np.float32)]


@pytest.mark.parametrize("weights", ["net.weights.h5", "net_weights.h5", "net.h5"])
def test_weights_alone_take_the_json_beside_them(tmp_path: Path, weights: str):
    model = dense()
    model.save_weights(tmp_path / "net.weights.h5")
    if not weights.endswith(".weights.h5"):
        (tmp_path / "net.weights.h5").rename(tmp_path / weights)
    (tmp_path / "net.json").write_text(model.to_json())
    assert_within(converted(tmp_path / weights, ONES), [model.predict(ONES[0], verbose=0)])


def test_a_run_with_weights_alone_says_so_and_sees_a_changed_json(tmp_path: Path, capsys: pytest.CaptureFixture):
    model = dense()
    model.save_weights(tmp_path / "net.weights.h5")
    (tmp_path / "net.json").write_text(model.to_json())
    (tmp_path / "pipeline.yaml").write_text("model: {path: net.weights.h5}\n")
    command = [str(tmp_path / "pipeline.yaml"), "--to", "keras_2_tf"]
    assert cli.main(["run", *command]) == 0
    assert "net.json" in capsys.readouterr().out
    (tmp_path / "net.json").write_text(model.to_json() + "\n")
    assert cli.main(["plan", *command]) == 0
    assert "the architecture beside model.path changed" in capsys.readouterr().out


def test_weights_without_an_architecture_say_what_to_add(tmp_path: Path):
    dense().save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(ModelFileError, match=r"(?s)model\.architecture: net\.json.*model\.weights: net\.weights\.h5"):
        read_model(tmp_path / "net.weights.h5")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ModelFileError, match=r"model\.architecture: other\.json"):
        read_model(tmp_path / "net.weights.h5")


@pytest.mark.parametrize("kind", [keras, tf_keras])
def test_the_suffix_counts_for_nothing(tmp_path: Path, kind: Any):
    model = dense(kind)
    model.save(tmp_path / "m.h5")
    model.save(tmp_path / "m.keras")
    (tmp_path / "m.json").write_text(model.to_json())
    wanted = [model.predict(ONES[0], verbose=0)]
    (tmp_path / "m.h5").rename(tmp_path / "a.keras")
    (tmp_path / "m.keras").rename(tmp_path / "b.h5")
    (tmp_path / "m.json").rename(tmp_path / "c.txt")
    assert_within(converted(tmp_path / "a.keras", ONES), wanted)
    assert_within(converted(tmp_path / "b.h5", ONES), wanted)
    both = read_architecture_weights(tmp_path / "c.txt", tmp_path / "a.keras")
    assert_within(outputs(frozen(both), ONES), wanted)


def with_setting(folder: Path, kind: Any, layer: Any, key: str, value: Any) -> KerasSource:
    """A model of one layer with a setting that no Keras wrote."""
    model = kind.Sequential([kind.layers.Input((6, 4), name="x"), layer])
    config = json.loads(model.to_json())
    config["config"]["layers"][-1]["config"][key] = value
    (folder / "net.json").write_text(json.dumps(config))
    model.save(folder / "net.h5")
    return read_architecture_weights(folder / "net.json", folder / "net.h5")


@pytest.mark.parametrize("kind", [keras, tf_keras])
@pytest.mark.parametrize("make", [lambda k: k.layers.Dense(3, name="fc"), lambda k: k.layers.LSTM(3, name="fc")])
def test_an_unknown_setting_is_an_error_that_names_it(tmp_path: Path, kind: Any, make: Callable[[Any], Any]):
    with pytest.raises(ModelFileError) as caught:
        frozen(with_setting(tmp_path, kind, make(kind), "doubled", True))
    for text in ("fc", "doubled"):
        assert text in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("time_major", True), ("zero_output_for_mask", True)])
def test_a_setting_that_a_layer_would_swallow_is_kept_or_refused(tmp_path: Path, key: str, value: Any):
    layer = tf_keras.layers.LSTM(3, return_sequences=True, name="rnn")
    source = with_setting(tmp_path, tf_keras, layer, key, value)
    feeds = [RANDOM.random((6, 6, 4)).astype(np.float32)]
    assert_within(outputs(frozen(source), feeds), Predictor(source).predict(feeds))


def test_a_swallowed_setting_is_named(tmp_path: Path):
    layer = tf_keras.layers.Embedding(5, 3, name="table")
    with pytest.raises(ModelFileError, match=r"(?s)table.*use_one_hot_matmul.*True"):
        frozen(with_setting(tmp_path, tf_keras, layer, "use_one_hot_matmul", True))


def test_a_wrapper_that_keras_2_does_not_know_by_name(tmp_path: Path):
    wrapper = layers.SpectralNormalization(layers.Dense(3, name="inner"), name="spectral")
    model = keras.Sequential([keras.Input((4,), name="x"), wrapper])
    model.save(tmp_path / "m.h5")
    feeds = [RANDOM.random((3, 4)).astype(np.float32)]
    assert_within(converted(tmp_path / "m.h5", feeds), [model.predict(feeds[0], verbose=0)])


# Custom layers.

SCALE = """
import {keras}


class Scale({keras}.layers.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, shape):
        self.gain = self.add_weight(name="gain", shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.gain * self.factor

    def get_config(self):
        return {{**super().get_config(), "factor": self.factor}}
"""


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    """A folder with the modules my_layers (tf_keras) and my_layers3 (keras), each with a class Scale."""
    (tmp_path / "my_layers.py").write_text(SCALE.format(keras="tf_keras"))
    (tmp_path / "my_layers3.py").write_text(SCALE.format(keras="keras"))
    return tmp_path


def scaled(folder: Path, kind: Any, name: str) -> list[np.ndarray]:
    """Write a model with the layer Scale, and return what it predicts for ones."""
    spec = "my_layers:Scale" if kind is tf_keras else "my_layers3:Scale"
    (scale,) = load_custom_objects([spec], folder).objects
    model = kind.Sequential([kind.layers.Input((4,), name="x"), scale(0.5, name="scale"), kind.layers.Dense(2)])
    model.set_weights([RANDOM.normal(0, 1, value.shape) for value in model.get_weights()])
    model.save(folder / name)
    return [model.predict(ONES[0], verbose=0)]


@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
@pytest.mark.parametrize("kind", [keras, tf_keras])
def test_layers_of_the_users(custom: Path, kind: Any, name: str):
    wanted = scaled(custom, kind, name)
    specs = ["my_layers:Scale"] if kind is tf_keras else ["my_layers:Scale", "my_layers3:Scale"]
    source = read_model(custom / name, load_custom_objects(specs, custom))
    assert_within(outputs(frozen(source), ONES), wanted)
    assert_within(Predictor(source).predict(ONES), wanted)


def test_a_layer_that_is_registered_by_its_package(custom: Path):
    text = (custom / "my_layers.py").read_text()
    decorated = text.replace("class Scale", "@tf_keras.saving.register_keras_serializable('mine')\nclass Scale")
    (custom / "my_layers.py").write_text(decorated)
    sys.modules.pop("my_layers", None)
    wanted = scaled(custom, tf_keras, "m.h5")
    source = read_model(custom / "m.h5", load_custom_objects(["my_layers:Scale"], custom))
    assert "mine>Scale" in json.dumps(source.config)
    assert_within(outputs(frozen(source), ONES), wanted)
    assert_within(Predictor(source).predict(ONES), wanted)


def test_a_class_of_the_other_keras_alone_is_said(custom: Path):
    """A class of keras is enough for a model of Keras 3, which it traces."""
    wanted = scaled(custom, keras, "m.h5")
    source = read_model(custom / "m.h5", load_custom_objects(["my_layers:Scale"], custom))
    with pytest.raises(UsageError, match=r" keras needs a class of its own for Scale"):
        Predictor(source)
    source = read_model(custom / "m.h5", load_custom_objects(["my_layers3:Scale"], custom))
    assert_within(outputs(frozen(source), ONES), wanted)
    scaled(custom, tf_keras, "m2.h5")
    source = read_model(custom / "m2.h5", load_custom_objects(["my_layers3:Scale"], custom))
    with pytest.raises(UsageError, match=r" tf_keras needs a class of its own for Scale"):
        frozen(source)


def test_the_pipeline_imports_only_what_is_allowed(custom: Path, capsys: pytest.CaptureFixture):
    scaled(custom, tf_keras, "m.h5")
    witness = custom / "it_ran"
    with (custom / "my_layers.py").open("a") as file:
        file.write(f"\nopen({str(witness)!r}, 'w').close()\n")
    yaml = custom / "pipeline.yaml"
    yaml.write_text("model: {path: m.h5, custom_objects: ['my_layers:Scale']}\n")
    command = [str(yaml), "--to", "keras_2_tf"]
    assert cli.main(["check", str(yaml)]) == 0
    assert cli.main(["plan", *command]) == 0
    assert cli.main(["run", *command]) == 2
    assert "--allow-custom-code" in capsys.readouterr().err
    assert not witness.exists()
    sys.modules.pop("my_layers", None)
    assert cli.main(["run", *command, "--allow-custom-code"]) == 0
    assert witness.exists()
    capsys.readouterr()
    assert cli.main(["plan", *command]) == 0
    assert "run " not in capsys.readouterr().out
    with (custom / "my_layers.py").open("a") as file:
        file.write("# changed\n")
    assert cli.main(["plan", *command]) == 0
    assert "the content of model.custom_objects: my_layers changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spec", "text"), [("nowhere:Scale", "cannot be imported"), ("my_layers:Other", "has no class or function Other")]
)
def test_a_custom_object_that_is_not_there(custom: Path, spec: str, text: str):
    with pytest.raises(UsageError, match=text):
        load_custom_objects([spec], custom)


def test_custom_code_does_not_lift_the_refusal_of_code_in_the_file(custom: Path):
    (custom / "my_layers.py").write_text("import tf_keras\n\n\nclass Lambda(tf_keras.layers.Layer):\n    pass\n")
    model = tf_keras.Sequential([tf_keras.layers.Input((4,)), tf_keras.layers.Lambda(lambda x: x, name="evil")])
    model.save(custom / "m.h5")
    with pytest.raises(UnsafeFileError, match="evil"):
        read_model(custom / "m.h5", load_custom_objects(["my_layers:Lambda"], custom))


def test_unknown_layers_are_listed_all_at_once(custom: Path):
    scaled(custom, tf_keras, "m.h5")
    shutil.copy(custom / "my_layers.py", custom / "other.py")
    with pytest.raises(ModelFileError, match=r"(?s)scale: Scale.*model\.custom_objects") as caught:
        frozen(read_model(custom / "m.h5"))
    assert caught.value.exit_code == 3


def of_dict(x: Any, y: Any) -> keras.Model:
    return keras.Model({"one": y, "two": x}, {"sum": x + y, "less": layers.ReLU()(x)})


def of_nested_outputs(x: Any, y: Any) -> keras.Model:
    return keras.Model([x, y], [layers.ReLU()(x), [layers.Softmax()(y), layers.Add()([x, y])]])


def of_states(x: Any, y: Any) -> keras.Model:
    series, others = layers.Reshape((16, 8))(x), layers.Reshape((16, 8))(y)
    _, h, c = layers.LSTM(3, return_state=True)(series)
    return keras.Model([x, y], layers.LSTM(3)(others, initial_state=[h, c]))


def of_rare_layers(x: Any, y: Any) -> keras.Model:
    z = layers.RandomContrast(0.2)(layers.LayerNormalization(axis=[1, 2, 3])(x))
    z = layers.SpectralNormalization(layers.Conv2D(8, 3, padding="same"))(z)
    a, b = layers.Reshape((16, 8))(z), layers.Reshape((16, 8))(y)
    c = layers.Attention()([layers.MultiHeadAttention(2, 4)(query=a, value=b, key=b), a])
    return keras.Model([x, y], layers.EinsumDense("abc,cd->abd", output_shape=(None, 4), bias_axes="d")(c))


@pytest.mark.parametrize("suffix", ["h5", "keras"])
@pytest.mark.parametrize("make", [of_dict, of_nested_outputs, of_states, of_rare_layers])
def test_structures_and_rare_layers_of_keras_3(tmp_path: Path, make: Callable[..., keras.Model], suffix: str):
    model = make(keras.Input(SHAPE, name="x"), keras.Input(SHAPE, name="y"))
    feeds = FEEDS[::-1] if make is of_dict else FEEDS
    given = dict(zip(("one", "two"), feeds, strict=True)) if make is of_dict else feeds
    wanted = tf.nest.flatten(model.predict(given, verbose=0))
    model.save(tmp_path / f"m.{suffix}")
    source = read_model(tmp_path / f"m.{suffix}")
    assert_within(outputs(frozen(source), feeds), wanted)
    assert_within(Predictor(source).predict(feeds), wanted)


def test_rare_settings_of_keras_2(tmp_path: Path):
    kept = tf_keras.layers
    image = kept.Input(SHAPE)
    # Keras 2's own cannot be built in tf_keras 2.21.
    x = kept.RandomFlip()(SpectralNormalization(kept.Conv2D(4, 1))(image))
    x = kept.Dense(3, activation="log_softmax")(kept.UpSampling2D(2, interpolation="bilinear")(x))
    model = tf_keras.Model(image, kept.Activation("softmax")(x))
    wanted = [model.predict(FEEDS[0], verbose=0)]
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        text = file.attrs["model_config"].replace('"log_softmax"', '"log_softmax_v2"')
        file.attrs["model_config"] = text.replace('"activation": "softmax"', '"activation": "softmax_v2"')
        assert "log_softmax_v2" in file.attrs["model_config"]
    source = read_model(tmp_path / "m.h5")
    assert_within(Predictor(source).predict(FEEDS[:1]), wanted)
    assert_within(outputs(frozen(source), FEEDS[:1]), wanted)


@pytest.mark.parametrize("suffix", ["h5", "keras"])
@pytest.mark.parametrize("module", [keras, tf_keras])
def test_layers_of_words_are_refused_by_name(tmp_path: Path, module: Any, suffix: str):
    words = module.Input((1,), dtype="int64")
    table = module.layers.Hashing(5, name="table")(words)
    module.Model(words, module.layers.Embedding(5, 2)(table)).save(tmp_path / f"m.{suffix}")
    with pytest.raises(ModelFileError, match=r"(?s)look words or ids up.*table: Hashing"):
        frozen(read_model(tmp_path / f"m.{suffix}"))


def test_messages_name_the_users_file(tmp_path: Path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, activation="celu", name="d")])
    model.save(tmp_path / "k_complete_model.h5")
    facts = {"files": [{"name": "mine.h5", "saved_as": "k_complete_model.h5"}]}
    (tmp_path / "source.json").write_text(json.dumps(facts))
    source, form = read_source(tmp_path, None)
    assert (source.file, form) == ("mine.h5", "complete")


def test_the_first_line_of_a_graphs_error():
    said = "Graph execution error:\n\nDetected at node m/conv defined at:\n  File x\n"
    node = "The op has no kernel\n\t [[{{node m/conv}}]] [Op:f]"
    assert first_line(ValueError(said + node)) == "The op has no kernel"
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError("Graph execution error:")) == "ValueError"


def test_a_probe_of_large_images_is_one_image(tmp_path: Path):
    model = keras.Sequential([keras.Input((2048, 1024, 3)), layers.GlobalAveragePooling2D()])
    model.save(tmp_path / "m.h5")
    source = read_model(tmp_path / "m.h5")
    probe = probe_batch(source, build_inference(source).inputs, 1)
    assert [(value.shape, value.dtype) for value in probe.values()] == [((1, 2048, 1024, 3), np.float32)]


def test_a_wrapper_that_cannot_be_built_is_named(tmp_path: Path):
    x = tf_keras.Input((3, 8, 8, 1), name="x")
    conv = tf_keras.layers.Conv2D(2, 3, name="inner")
    tf_keras.Model(x, tf_keras.layers.TimeDistributed(conv, name="steps")(x)).save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        text = file.attrs["model_config"]
        file.attrs["model_config"] = text.replace('"kernel_size": [3, 3]', '"kernel_size": [30, 3]')
        assert file.attrs["model_config"] != text
    with pytest.raises(ModelFileError, match=r"Keras 2 cannot build the layer '(steps|inner)'") as caught:
        frozen(read_model(tmp_path / "m.h5"))
    assert "in user code" not in str(caught.value)


def test_the_reason_of_an_error_in_rewritten_code():
    said = "in user code:\n\n    File x, line 1, in call\n        y = f(x)\n\n    TypeError: no such type\n\nCall of x"
    assert first_line(ValueError(said)) == "no such type"


def test_layers_whose_settings_cannot_be_copied_have_first_weights(tmp_path: Path):
    x = keras.Input((8, 8, 3), name="x")
    model = keras.Model(x, layers.Conv2D(2, 3, name="conv")(layers.RandomContrast(0.2, name="contrast")(x)))
    config = json.loads(model.to_json())
    with untrained_hdf5(config, "net.json", keras.__version__, 100) as folder:
        source = read_model(Path(folder) / "model.h5")
        assert [layer["class_name"] for layer in source.config["config"]["layers"]][1:] == ["RandomContrast", "Conv2D"]
        again = keras.models.load_model(Path(folder) / "model.h5", compile=False)
        assert again.count_params() == model.count_params()
