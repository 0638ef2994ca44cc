"""`ckpt2keras`: TensorFlow 1 weights back in Keras, bit for bit, and what stays over."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from conversion import assert_within, frozen
from environments import without_tensorflow
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep import cli
from dnndk_prep.keras_io.checkpoint import CHECKPOINT, write_checkpoint, write_graph
from dnndk_prep.keras_io.inference import build_inference
from dnndk_prep.keras_io.load import read_model

RANDOM = np.random.default_rng(0)


def every_layer(kind: type) -> keras.Model:
    """Layers of each kind that has weights, one inside another, of equal shapes, in both directions."""
    layers = kind.layers
    part = layers.Input((8, 8, 3), name="part")
    body = kind.Model(part, layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, name="conv")(part)), name="body")
    x = image = layers.Input((8, 8, 3), name="image")
    x = layers.SeparableConv2D(4, 3, name="sep")(body(x))
    x = layers.DepthwiseConv2D(2, name="dw")(x)
    x = layers.Conv2DTranspose(4, 2, name="up")(x)
    x = layers.PReLU(name="slopes")(layers.Conv2D(4, 1, name="same_1")(layers.Conv2D(4, 1, name="same_2")(x)))
    x = layers.LSTM(3, return_sequences=True, name="lstm")(layers.Reshape((-1, 4), name="rows")(x))
    x = layers.Bidirectional(layers.GRU(2), name="both")(x)
    return kind.Model(image, layers.Dense(3, activation="softmax", name="fc")(x), name="every_layer")


def with_values(model: keras.Model) -> keras.Model:
    model.set_weights([RANDOM.random(weight.shape, np.float32) for weight in model.get_weights()])
    return model


def same_bits(a: keras.Model, b: keras.Model) -> None:
    for ours, theirs in zip(a.get_weights(), b.get_weights(), strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()


def run(*words: object, code: int = 0) -> None:
    assert cli.main(["ckpt2keras", *map(str, words)]) == code


# Both sources, in each form of either Keras; a form does not know the source it is filled from.
WAYS = [
    *[("checkpoint", "h5", keras), ("checkpoint", "keras", tf_keras), ("checkpoint", "json", tf_keras)],
    *[("frozen", "h5", tf_keras), ("frozen", "keras", keras), ("frozen", "json", keras)],
]


@pytest.mark.parametrize(("source", "form", "kind"), WAYS)
def test_our_checkpoint_comes_back_bit_for_bit(source: str, form: str, kind: type, tmp_path: Path):
    trained = with_values(every_layer(kind))
    trained.save(tmp_path / "trained.h5")
    built = build_inference(read_model(tmp_path / "trained.h5"))
    if source == "checkpoint":
        write_checkpoint(tmp_path / "tf" / CHECKPOINT, built.graph_def, built.variables)
    else:
        write_graph(tmp_path / "tf" / "frozen.pb", frozen(read_model(tmp_path / "trained.h5")).graph_def)
    fresh = with_values(every_layer(kind))
    if form == "json":
        (tmp_path / "fresh.json").write_text(fresh.to_json())
    else:
        fresh.save(tmp_path / f"fresh.{form}")
    stored = tmp_path / "tf" / (CHECKPOINT if source == "checkpoint" else "frozen.pb")
    run(stored, "--model", tmp_path / f"fresh.{form}", "--out", tmp_path / "out.h5")
    same_bits(kind.models.load_model(tmp_path / "out.h5", compile=False), trained)


def test_the_forms_in_which_people_name_a_checkpoint(tmp_path: Path):
    trained = with_values(every_layer(keras))
    trained.save(tmp_path / "trained.h5")
    built = build_inference(read_model(tmp_path / "trained.h5"))
    write_checkpoint(tmp_path / "tf" / CHECKPOINT, built.graph_def, built.variables)
    for place in ("tf", f"tf/{CHECKPOINT}.index", f"tf/{CHECKPOINT}.meta", f"tf/{CHECKPOINT}.data-00000-of-00001"):
        run(tmp_path / place, "--model", tmp_path / "trained.h5", "--out", tmp_path / "out.h5")
        same_bits(keras.models.load_model(tmp_path / "out.h5", compile=False), trained)


def saved(folder: Path, values: dict[str, np.ndarray]) -> Path:
    """A checkpoint with these tensors, as TensorFlow writes it."""
    names = sorted(values)
    tensors = [tf.constant(values[name]) for name in names]
    tf.raw_ops.SaveV2(
        prefix=str(folder / "x.ckpt"), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors
    )
    return folder / "x.ckpt"


def small(kind: type = keras) -> keras.Model:
    layers = kind.layers
    image = layers.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, name="conv1", padding="same")(image)
    x = layers.BatchNormalization(name="bn1")(layers.Conv2D(4, 3, name="conv2", padding="same")(x))
    x = layers.Conv2D(4, 3, name="conv3", padding="same")(x)
    return kind.Model(image, layers.Dense(5, name="fc")(layers.Flatten()(x)), name="small")


def slim_values() -> dict[str, np.ndarray]:
    values = {
        "net/first/conv_1/weights": RANDOM.random((3, 3, 3, 4), np.float32),
        "net/first/conv_1/biases": RANDOM.random(4, np.float32),
        "net/BatchNorm/gamma": RANDOM.random(4, np.float32),
        "net/BatchNorm/beta": RANDOM.random(4, np.float32),
        "net/BatchNorm/moving_mean": RANDOM.random(4, np.float32),
        "net/BatchNorm/moving_variance": RANDOM.random(4, np.float32),
        "net/last/weights": RANDOM.random((8, 8, 4, 5), np.float32),
        "net/last/biases": RANDOM.random(5, np.float32),
    }
    for i in (2, 3):
        values[f"net/middle/conv_{i}/weights"] = RANDOM.random((3, 3, 4, 4), np.float32)
        values[f"net/middle/conv_{i}/biases"] = RANDOM.random(4, np.float32)
    return values


TRAINING = {
    "{}/Adam": "optimizer slots",
    "{}/Adam_1": "optimizer slots",
    "{}/Momentum": "optimizer slots",
    "{}/RMSProp_1": "optimizer slots",
    "training/SGD/{}": "optimizer slots",
    "{}/ExponentialMovingAverage": "moving averages of weights",
}


def test_what_only_training_needs_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    values = slim_values()
    weights = dict(values)
    for name, value in weights.items():
        values |= {form.format(name): RANDOM.random(value.shape, np.float32) for form in TRAINING}
    values |= {"beta1_power": np.float32(0.9), "train/beta2_power": np.float32(0.9), "global_step": np.array(7)}
    small().save(tmp_path / "m.h5")
    run(saved(tmp_path, values), "--model", tmp_path / "m.h5", "--out", tmp_path / "out.h5")
    told = capsys.readouterr().out
    assert f"left out: {5 * len(weights)} optimizer slots" in told
    assert f"left out: {len(weights)} moving averages of weights" in told
    assert "left out: 3 counters" in told
    assert "without a tensor" not in told
    assert "no weight took" not in told
    model = keras.models.load_model(tmp_path / "out.h5", compile=False)
    for layer, scope in (("conv1", "net/first/conv_1"), ("conv2", "net/middle/conv_2"), ("conv3", "net/middle/conv_3")):
        kernel, bias = model.get_layer(layer).get_weights()
        assert kernel.tobytes() == weights[f"{scope}/weights"].tobytes()
        assert bias.tobytes() == weights[f"{scope}/biases"].tobytes()
    assert model.get_layer("fc").get_weights()[0].tobytes() == weights["net/last/weights"].tobytes()
    wanted = [weights[f"net/BatchNorm/{role}"] for role in ("gamma", "beta", "moving_mean", "moving_variance")]
    assert all((a == b).all() for a, b in zip(model.get_layer("bn1").get_weights(), wanted, strict=True))


def test_layers_that_only_their_order_tells_apart_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    values = {name.replace("conv_2", "alpha").replace("conv_3", "beta_"): v for name, v in slim_values().items()}
    small().save(tmp_path / "m.h5")
    checkpoint = saved(tmp_path, values)
    run(checkpoint, "--model", tmp_path / "m.h5", "--out", tmp_path / "out.h5", code=3)
    told = capsys.readouterr()
    assert "weights without a tensor: 4" in told.out
    assert "  conv2/kernel [3, 3, 4, 4]; nearest: net/middle/" in told.out
    assert "tensors that no weight took: 4" in told.out
    assert "--map" in told.err
    assert not (tmp_path / "out.h5").exists()
    (tmp_path / "map.yaml").write_text("conv2: net/middle/alpha\nconv3/kernel: net/middle/beta_/weights\n")
    run(checkpoint, "--model", tmp_path / "m.h5", "--out", tmp_path / "out.h5", "--map", tmp_path / "map.yaml")
    model = keras.models.load_model(tmp_path / "out.h5", compile=False)
    assert (model.get_layer("conv2").get_weights()[0] == values["net/middle/alpha/weights"]).all()
    # The bias follows its kernel.
    assert (model.get_layer("conv3").get_weights()[1] == values["net/middle/beta_/biases"]).all()


def test_numbers_that_do_not_agree_on_both_sides_are_no_match(tmp_path: Path):
    """conv2 and conv3 against conv_3 and conv_4: the common 3 must not pair."""
    values = {name.replace("conv_3", "conv_4").replace("conv_2", "conv_3"): v for name, v in slim_values().items()}
    small().save(tmp_path / "m.h5")
    run(saved(tmp_path, values), "--model", tmp_path / "m.h5", "--out", tmp_path / "out.h5", code=3)


def test_a_map_reshapes_turns_and_keeps(tmp_path: Path):
    model = with_values(small())
    model.save(tmp_path / "m.h5")
    values = slim_values()
    turned, flat = RANDOM.random((4, 3, 3, 3), np.float32), RANDOM.random((256 * 5,), np.float32)
    values |= {"pytorch": turned, "flat": flat}
    (tmp_path / "map.yaml").write_text(
        "conv1/kernel: {tensor: pytorch, transpose: [2, 3, 1, 0]}\n"
        "fc/kernel: {tensor: 'flat:0', reshape: [256, 5]}\n"
        "bn1: null\n"
    )
    run(
        saved(tmp_path, values), "--model", tmp_path / "m.h5", "--out", tmp_path / "out.h5",
        "--map", tmp_path / "map.yaml",
    )  # fmt: skip
    got = keras.models.load_model(tmp_path / "out.h5", compile=False)
    assert (got.get_layer("conv1").get_weights()[0] == turned.transpose(2, 3, 1, 0)).all()
    assert got.get_layer("fc").get_weights()[0].tobytes() == flat.tobytes()
    for a, b in zip(got.get_layer("bn1").get_weights(), model.get_layer("bn1").get_weights(), strict=True):
        assert (a == b).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("conv1/kernal: net/last/weights\n", "nearest: conv1/kernel"),
        ("conv1/kernel: net/first/conv_1/weight\n", "net/first/conv_1/weights"),
        ("conv1/kernel: net/last/weights\n", "cannot be conv1/kernel"),
        ("fc/kernel: {tensor: net/last/weights, reshape: [5, 256]}\n", "reshape"),
        ("fc/kernel: {tensor: net/last/weights, transpose: [0, 1]}\n", "each of the 4 axes"),
        ("fc/kernel: {name: net/last/weights}\n", "says no tensor"),
        ("fc: net/last\nfc/bias: net/last/biases\n", "says two things of fc/bias"),
        ("- a\n", "is no map"),
        ("a: !!python/object:os.system {}\n", "is no map"),
    ],
)
def test_mistakes_in_a_map(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    small().save(tmp_path / "m.h5")
    (tmp_path / "map.yaml").write_text(text)
    checkpoint = saved(tmp_path, slim_values())
    words = [checkpoint, "--model", tmp_path / "m.h5", "--out", tmp_path / "out.h5", "--map", tmp_path / "map.yaml"]
    run(*words, code=2)
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    small().save(tmp_path / "m.h5")
    whole = saved(tmp_path, slim_values())
    broken = tmp_path / "broken"
    broken.mkdir()
    for suffix in (".index", ".data-00000-of-00001"):
        shutil.copyfile(f"{whole}{suffix}", broken / f"x.ckpt{suffix}")
    (tmp_path / "cut").mkdir()
    shutil.copyfile(f"{whole}.index", tmp_path / "cut" / "x.ckpt.index")
    (tmp_path / "cut" / "x.ckpt.data-00000-of-00001").write_bytes(b"short")
    (broken / "x.ckpt.index").write_bytes(b"nonsense")
    (tmp_path / "text.pb").write_text("not a graph")
    write_graph(tmp_path / "empty.pb", GraphDef())
    out = ["--out", tmp_path / "out.h5"]
    for stored in ("none.ckpt", "broken/x.ckpt", "cut/x.ckpt", "text.pb", "empty.pb"):
        run(tmp_path / stored, "--model", tmp_path / "m.h5", *out, code=3)
        assert "Traceback" not in capsys.readouterr().err
    run(whole, "--model", tmp_path / "none.h5", *out, code=3)
    run(whole, "--model", tmp_path / "m.h5", "--out", tmp_path / "out.txt", code=2)
    run(whole, "--model", tmp_path / "m.h5", "--out", tmp_path / "m.h5", code=2)


def test_code_in_the_model_is_not_run(tmp_path: Path):
    lambda_model = {
        "class_name": "Sequential",
        "config": {
            "name": "s",
            "layers": [
                {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 3], "name": "i"}},
                {"class_name": "Lambda", "config": {"name": "l", "function": ["4wEAAAA=", None, None]}},
            ],
        },
    }
    (tmp_path / "m.json").write_text(json.dumps(lambda_model))
    run(saved(tmp_path, slim_values()), "--model", tmp_path / "m.json", "--out", tmp_path / "out.h5", code=6)


@pytest.fixture(scope="module")
def slim_vgg16(old_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with TF-Slim's VGG16 of random weights, its image and its scores."""
    folder = tmp_path_factory.mktemp("slim")
    np.save(folder / "image.npy", RANDOM.normal(0, 60, (1, 224, 224, 3)).astype(np.float32))
    command = [old_python("1.15"), "-W", "ignore", Path(__file__).with_name("slim_vgg16.py"), folder]
    done = subprocess.run(command, env=without_tensorflow(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


MAP = """
fc1/kernel: {tensor: vgg_16/fc6/weights, reshape: [25088, 4096]}
fc1/bias: vgg_16/fc6/biases
fc2: vgg_16/fc7
predictions: vgg_16/fc8
"""


def test_vgg16_of_tf_slim_becomes_that_of_keras(slim_vgg16: Path, capsys: pytest.CaptureFixture[str]):
    """The bits of the checkpoint, and the scores that TensorFlow 1.15 computed."""
    (slim_vgg16 / "vgg16.json").write_text(keras.applications.VGG16(weights=None).to_json())
    stored, out = slim_vgg16 / "vgg_16.ckpt", slim_vgg16 / "out.h5"
    run(stored, "--model", slim_vgg16 / "vgg16.json", "--out", out)
    told = capsys.readouterr().out
    assert "32 of 32 weights have their tensor" in told
    assert "vgg_16/fc6/weights  (the only one with these shapes; [7, 7, 512, 4096] as [25088, 4096])" in told
    assert "block5_conv3/kernel  <-  vgg_16/conv5/conv5_3/weights" in told
    assert "left out: 16 moving averages of weights" in told
    assert "without a tensor" not in told
    model = keras.models.load_model(out, compile=False)
    reader = tf.train.load_checkpoint(str(stored))
    for layer in model.layers:
        if layer.weights:
            scope = told.partition(f"{layer.name}/kernel  <-  ")[2].partition("/weights")[0]
            for weight, role in zip(layer.get_weights(), ("weights", "biases"), strict=True):
                assert weight.tobytes() == reader.get_tensor(f"{scope}/{role}").tobytes()
    assert_within([model.predict(np.load(slim_vgg16 / "image.npy"), verbose=0)], [np.load(slim_vgg16 / "scores.npy")])


@pytest.mark.slow
def test_a_map_for_the_dense_layers_of_vgg16_gives_the_same_file(slim_vgg16: Path, capsys: pytest.CaptureFixture[str]):
    (slim_vgg16 / "vgg16.json").write_text(keras.applications.VGG16(weights=None).to_json())
    (slim_vgg16 / "map.yaml").write_text(MAP)
    words = [slim_vgg16 / "vgg_16.ckpt", "--model", slim_vgg16 / "vgg16.json", "--out"]
    run(*words, slim_vgg16 / "found.h5")
    run(*words, slim_vgg16 / "mapped.h5", "--map", slim_vgg16 / "map.yaml")
    assert "fc1/kernel  <-  vgg_16/fc6/weights  (the map; " in capsys.readouterr().out
    assert (slim_vgg16 / "mapped.h5").read_bytes() == (slim_vgg16 / "found.h5").read_bytes()


def weights_of_keras_2(model: keras.Model, folder: Path) -> Path:
    model.save_weights(str(folder / "weights"))
    return folder / "weights.index"


def checkpoint_of_a_training(model: keras.Model, folder: Path) -> Path:
    """With an optimizer whose slots have the weights' shapes."""
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return Path(tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(folder / "ckpt")))


def exported(model: keras.Model, folder: Path) -> Path:
    model.export(str(folder / "saved"), verbose=False)
    return folder / "saved"


def saved_by_keras_2(model: keras.Model, folder: Path) -> Path:
    model.save(folder / "saved", save_format="tf")
    return folder / "saved"


OBJECT_FORMS = [
    (tf_keras, weights_of_keras_2),
    (tf_keras, checkpoint_of_a_training),
    (tf_keras, saved_by_keras_2),
    (keras, checkpoint_of_a_training),
    (keras, exported),
]


@pytest.mark.parametrize(("kind", "store"), OBJECT_FORMS)
def test_a_checkpoint_of_tensorflow_2_comes_back_bit_for_bit(
    kind: type, store: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    # Keras 2 traces the training of recurrent layers into its SavedModel, which takes half a minute.
    make = small if store is saved_by_keras_2 else every_layer
    trained = with_values(make(kind))
    stored = store(trained, tmp_path)
    fresh = with_values(make(kind))
    fresh.save(tmp_path / "fresh.h5")
    run(stored, "--model", tmp_path / "fresh.h5", "--out", tmp_path / "out.h5")
    same_bits(kind.models.load_model(tmp_path / "out.h5", compile=False), trained)
    told = capsys.readouterr().out
    assert "fc/kernel  <-  fc/kernel" in told
    assert "no weight took" not in told


def test_a_checkpoint_of_objects_that_have_no_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A tf.Module of two layers with weights of one name: they are called by their places, and a map tells which."""

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = tf.Module()
            self.first.w = tf.Variable(RANDOM.random((4, 4), np.float32), name="w")
            self.second = tf.Module()
            self.second.w = tf.Variable(RANDOM.random((4, 4), np.float32), name="w")

    module = Module()
    prefix = tf.train.Checkpoint(net=module).write(str(tmp_path / "net"))
    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(4, use_bias=False, name="b")(
        keras.layers.Dense(4, use_bias=False, name="a")(x)
    ))  # fmt: skip
    model.save(tmp_path / "m.h5")
    run(prefix, "--model", tmp_path / "m.h5", "--out", tmp_path / "out.h5", code=3)
    assert "net/first/w" in capsys.readouterr().out
    (tmp_path / "map.yaml").write_text("a/kernel: net/first/w\nb/kernel: net/second/w\n")
    run(prefix, "--model", tmp_path / "m.h5", "--out", tmp_path / "out.h5", "--map", tmp_path / "map.yaml")
    filled = keras.models.load_model(tmp_path / "out.h5", compile=False)
    assert filled.get_weights()[0].tobytes() == module.first.w.numpy().tobytes()
    assert filled.get_weights()[1].tobytes() == module.second.w.numpy().tobytes()
