"""From model files to frozen graphs: every kind of model, every kind of file, and files that are none."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf
import tf_keras
from keras_models import MODELS, made, save
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import DnndkPrepError, ModelFileError, UnsafeFileError, UsageError
from dnndk_prep.graph.artifact import serialize
from dnndk_prep.graph.freeze import freeze
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.keras_io.checkpoint import (
    RestoredRunner,
    match_variables,
    read_checkpoint,
    read_graph,
    write_checkpoint,
    write_graph,
)
from dnndk_prep.keras_io.inference import InferenceGraph, build_inference, renamed
from dnndk_prep.keras_io.load import KerasSource, read_architecture_weights, read_model
from dnndk_prep.keras_io.predict import Predictor, probe_batch

KERAS = {"keras3": keras, "keras2": tf_keras}


def read(paths: tuple[Path, ...]) -> KerasSource:
    return read_model(*paths) if len(paths) == 1 else read_architecture_weights(*paths)


def frozen(built: InferenceGraph) -> GraphDef:
    return freeze(built.graph_def, built.variables, [spec.name for spec in built.outputs])


def outputs_of(built: InferenceGraph) -> list[str]:
    return [spec.name for spec in built.outputs]


def assert_close(got: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= 1e-5 * max(1, np.abs(b).max())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def predicted(model: Any) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """A probe batch by input layer, and what the model predicts for it (at once: Keras 2 mixes no graph in)."""
    random = np.random.default_rng(1)
    probe = {}
    for tensor in model.inputs:
        shape = (8, *tuple(tensor.shape)[1:])
        is_whole = "int" in str(tensor.dtype)
        name = tensor.name.split(":")[0]
        probe[name] = random.integers(0, 6, shape).astype("int32") if is_whole else random.random(shape, np.float32)
    feeds = list(probe.values())
    wanted = model.predict(feeds if len(feeds) > 1 else feeds[0], verbose=0)
    return probe, wanted if isinstance(wanted, list) else [wanted]


@dataclass
class Saved:
    files: dict[str, tuple[Path, ...]]
    # What the model that was saved predicts for the probe batch.
    probe: dict[str, np.ndarray]
    wanted: list[np.ndarray]


@pytest.fixture(scope="module")
def saved(folder: Path) -> Callable[[str, str], Saved]:
    there: dict[tuple[str, str], Saved] = {}

    def get(name: str, version: str) -> Saved:
        if (name, version) not in there:
            model = made(name, KERAS[version])
            files = save(model, folder / version / name)
            there[name, version] = Saved(files, *predicted(model))
        return there[name, version]

    return get


@pytest.mark.parametrize("version", KERAS)
@pytest.mark.parametrize("name", MODELS)
def test_every_file_gives_the_same_graph_with_keras_own_numbers(
    saved: Callable[[str, str], Saved], name: str, version: str
) -> None:
    model = saved(name, version)
    graphs = {}
    for form, paths in model.files.items():
        built = build_inference(read(paths))
        graphs[form] = frozen(built)
    assert len({serialize(graph) for graph in graphs.values()}) == 1, list(graphs)
    feeds = {spec.name: value for spec, value in zip(built.inputs, model.probe.values(), strict=True)}
    with GraphRunner(graphs["h5"], outputs_of(built)) as runner:
        assert_close(runner.run(feeds), model.wanted)


@pytest.mark.parametrize("version", KERAS)
@pytest.mark.parametrize("name", ["cnn", "shared", "embedding"])
def test_predict_is_that_of_the_model_that_was_saved(
    saved: Callable[[str, str], Saved], name: str, version: str
) -> None:
    model = saved(name, version)
    for form in ("h5", "keras", "json_new"):
        assert_close(Predictor(read(model.files[form])).predict(list(model.probe.values())), model.wanted)


def test_names_are_those_of_the_layers(saved: Callable[[str, str], Saved]) -> None:
    for version in KERAS:
        built = build_inference(read(saved("cnn", version).files["h5"]))
        names = {node.name: node.op for node in frozen(built).node}
        assert [spec.name for spec in built.inputs] == ["image"]
        assert outputs_of(built) == ["prob/Softmax"]
        assert names["conv1/kernel"] == names["bn1/gamma"] == "Const"
        assert names["bn1/FusedBatchNormV3"] == "FusedBatchNormV3"
        assert names["dw/Relu"] == "Relu"
        assert built.inputs[0].shape == (None, 12, 12, 3)
        assert built.outputs[0].shape == (None, 4)


def test_an_output_is_never_an_identity(saved: Callable[[str, str], Saved]) -> None:
    built = build_inference(read(saved("several", "keras3").files["h5"]))
    assert outputs_of(built) == ["logits/BiasAdd", "flags/Sigmoid"]
    assert built.output_layers == ("raw", "flags")
    assert built.input_layers == ("left", "right")


@pytest.mark.parametrize("version", KERAS)
def test_a_sequential_does_not_stand_in_the_names(saved: Callable[[str, str], Saved], version: str) -> None:
    built = build_inference(read(saved("without_input", version).files["h5"]))
    assert outputs_of(built) == ["fc/BiasAdd"]
    assert "conv/kernel" in built.variables


@pytest.mark.parametrize("name", ["cnn", "nested", "embedding"])
def test_no_training_node(saved: Callable[[str, str], Saved], name: str) -> None:
    built = build_inference(read(saved(name, "keras3").files["h5"]))
    ops = {node.op for node in built.graph_def.node}
    assert not {op for op in ops if "Random" in op or "Assign" in op or op == "PlaceholderWithDefault"}
    if name != "embedding":
        assert not ops & {"Switch", "Merge", "If", "StatelessIf", "Shape", "StridedSlice"}


def test_the_checkpoint_and_the_graph_belong_together(saved: Callable[[str, str], Saved], tmp_path: Path) -> None:
    for name in ("cnn", "lstm"):
        model = saved(name, "keras3")
        built = build_inference(read(model.files["h5"]))
        prefix = tmp_path / name / "tf_chkpt.ckpt"
        graph_def = write_checkpoint(prefix, built.graph_def, built.variables)
        for file in ("graph.pb", "graph.pbtxt"):
            write_graph(tmp_path / name / file, graph_def)
            assert read_graph(tmp_path / name / file, file.endswith(".pb")) == graph_def
        values = match_variables(graph_def, read_checkpoint(prefix))
        assert serialize(freeze(graph_def, values, outputs_of(built))) == serialize(frozen(built))
        with RestoredRunner(graph_def, outputs_of(built), prefix) as runner:
            assert_close(runner.run(model.probe), model.wanted)


def test_tensorflow_1_reads_the_meta_graph_wherever_the_folder_lies(
    saved: Callable[[str, str], Saved], tmp_path: Path
) -> None:
    model = saved("cnn", "keras3")
    built = build_inference(read(model.files["h5"]))
    write_checkpoint(tmp_path / "first" / "tf_chkpt.ckpt", built.graph_def, built.variables)
    write_checkpoint(tmp_path / "other" / "tf_chkpt.ckpt", built.graph_def, built.variables)
    for path in (tmp_path / "first").iterdir():
        content = path.read_bytes()
        assert content == (tmp_path / "other" / path.name).read_bytes(), path.name
        assert os.fsencode(tmp_path) not in content
    shutil.move(tmp_path / "first", tmp_path / "moved")
    latest = tf.train.latest_checkpoint(str(tmp_path / "moved"))
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        tf.compat.v1.train.import_meta_graph(f"{latest}.meta").restore(session, latest)
        got = session.run("prob/Softmax:0", {"image:0": model.probe["image"]})
    assert_close([got], model.wanted)


def test_a_layer_called_save_does_not_clash(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2, name="save")])
    model.save(tmp_path / "m.h5")
    built = build_inference(read_model(tmp_path / "m.h5"))
    graph_def = write_checkpoint(tmp_path / "c", built.graph_def, built.variables)
    x = np.ones((1, 4), np.float32)
    with RestoredRunner(graph_def, outputs_of(built), tmp_path / "c") as runner:
        assert_close(runner.run({"x": x}), [model.predict(x, verbose=0)])


def test_new_names_for_inputs_and_outputs(saved: Callable[[str, str], Saved]) -> None:
    model = saved("several", "keras3")
    built = renamed(
        build_inference(read(model.files["h5"])), {"left": "data"}, {"raw": "scores", "flags/Sigmoid": "flags_out"}
    )
    assert [spec.name for spec in built.inputs] == ["data", "right"]
    assert outputs_of(built) == ["scores", "flags_out"]
    with GraphRunner(frozen(built), outputs_of(built)) as runner:
        assert_close(runner.run({"data": model.probe["left"], "right": model.probe["right"]}), model.wanted)
    with pytest.raises(UsageError, match=r"(?s)graph.inputs.*'lft'.*left"):
        renamed(build_inference(read(model.files["h5"])), {"lft": "data"}, {})


def test_a_fixed_batch_becomes_free(tmp_path: Path) -> None:
    for version, module in KERAS.items():
        image = module.layers.Input((6, 6, 3), batch_size=1, name="image")
        model = module.Model(image, module.layers.Flatten(name="flat")(module.layers.Conv2D(2, 3, name="c")(image)))
        model.save(tmp_path / f"{version}.h5")
        source = read_model(tmp_path / f"{version}.h5")
        built = build_inference(source)
        assert built.inputs[0].shape == (None, 6, 6, 3)
        assert built.outputs[0].shape == (None, 32)
        x = np.random.default_rng(0).random((5, 6, 6, 3), np.float32)
        with GraphRunner(frozen(built), outputs_of(built)) as runner:
            assert_close(runner.run({"image": x}), Predictor(source).predict([x]))


@pytest.mark.parametrize(
    "activation", ["hard_sigmoid", "hard_silu", "relu6", "leaky_relu", "silu", "gelu", "log_softmax"]
)
def test_activations_that_keras_2_computes_differently(tmp_path: Path, activation: str) -> None:
    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(8, activation=activation)])
    model.set_weights([3 * np.random.default_rng(0).normal(size=value.shape) for value in model.get_weights()])
    model.save(tmp_path / "m.h5")
    built = build_inference(read_model(tmp_path / "m.h5"))
    x = np.random.default_rng(1).normal(size=(16, 4)).astype(np.float32)
    with GraphRunner(frozen(built), outputs_of(built)) as runner:
        assert_close(runner.run({"x": x}), [model.predict(x, verbose=0)])
    assert not {"IdentityN"} & {node.op for node in built.graph_def.node}


def test_random_layers_are_silent(tmp_path: Path) -> None:
    layers = [keras.layers.RandomFlip(), keras.layers.RandomRotation(0.2), keras.layers.GaussianNoise(0.3)]
    model = keras.Sequential([keras.Input((8, 8, 3), name="x"), *layers, keras.layers.Conv2D(2, 3)])
    model.save(tmp_path / "m.h5")
    built = build_inference(read_model(tmp_path / "m.h5"))
    x = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    with GraphRunner(frozen(built), outputs_of(built)) as runner:
        assert_close(runner.run({"x": x}), [model.predict(x, verbose=0)])


@pytest.mark.parametrize("frozen_part", ["all", "some"])
def test_frozen_layers_in_a_nested_model(tmp_path: Path, frozen_part: str) -> None:
    model = made("nested", keras)
    body = model.get_layer("body")
    (body if frozen_part == "all" else body.get_layer("conv")).trainable = False
    model.save(tmp_path / "m.h5")
    source = read_model(tmp_path / "m.h5")
    built = build_inference(source)
    probe = probe_batch(source, built.inputs, 0)
    with GraphRunner(frozen(built), outputs_of(built)) as runner:
        assert_close(runner.run(probe), [model.predict(probe["image"], verbose=0)])


def test_a_model_that_was_compiled(tmp_path: Path) -> None:
    model = made("cnn", keras)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(np.zeros((2, 12, 12, 3)), np.eye(4)[:2], verbose=0)
    wanted = None
    for form, paths in save(model, tmp_path).items():
        graph = serialize(frozen(build_inference(read(paths))))
        wanted = wanted or graph
        assert graph == wanted, form


def test_lists_of_the_first_keras_2(tmp_path: Path) -> None:
    """Keras before 2.2.3 wrote a Sequential's layers as a list, with the shape in the first layer."""
    model = made("without_input", tf_keras)
    files = save(model, tmp_path)
    x = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    wanted = model.predict(x, verbose=0)
    config = json.loads((tmp_path / "model.json").read_text())
    layers = [layer for layer in config["config"]["layers"] if layer["class_name"] != "InputLayer"]
    layers = [{"class_name": layer["class_name"], "config": layer["config"]} for layer in layers]
    layers[0]["config"]["batch_input_shape"] = [None, 8, 8, 3]
    old = {"class_name": "Sequential", "keras_version": "2.1.6", "backend": "tensorflow", "config": layers}
    (tmp_path / "old.json").write_text(json.dumps(old))
    built = build_inference(read_architecture_weights(tmp_path / "old.json", files["h5"][0]))
    with GraphRunner(frozen(built), outputs_of(built)) as runner:
        assert_close(runner.run({built.inputs[0].name: x}), [wanted])


def test_probe_batches_are_small_seeded_and_of_the_inputs(saved: Callable[[str, str], Saved]) -> None:
    source = read(saved("embedding", "keras3").files["h5"])
    inputs = build_inference(source).inputs
    probe = probe_batch(source, inputs, 3)["words"]
    assert probe.shape == (8, 9)
    assert probe.dtype == np.int32
    assert 0 <= probe.min() <= probe.max() < 6
    np.testing.assert_array_equal(probe, probe_batch(source, inputs, 3)["words"])
    assert (probe != probe_batch(source, inputs, 4)["words"]).any()


# Files that are no models.


def whole(folder: Path) -> Path:
    path = folder / "whole"
    if not path.exists():
        save(made("cnn", keras), path)
    return path


def truncated(folder: Path, tmp: Path) -> Path:
    content = (whole(folder) / "complete.h5").read_bytes()
    (tmp / "m.h5").write_bytes(content[: len(content) // 2])
    return tmp / "m.h5"


def not_a_model(folder: Path, tmp: Path) -> Path:
    with h5py.File(tmp / "data.h5", "w") as file:
        file["images"] = np.zeros(4)
    return tmp / "data.h5"


def short_archive(folder: Path, tmp: Path) -> Path:
    content = (whole(folder) / "archive.keras").read_bytes()
    (tmp / "m.keras").write_bytes(content[: len(content) // 2])
    return tmp / "m.keras"


def other_archive(folder: Path, tmp: Path) -> Path:
    with zipfile.ZipFile(tmp / "m.keras", "w") as archive:
        archive.writestr("readme.txt", "hello")
    return tmp / "m.keras"


def flipped_archive(folder: Path, tmp: Path) -> Path:
    content = bytearray((whole(folder) / "archive.keras").read_bytes())
    content[len(content) // 3] ^= 0xFF
    (tmp / "m.keras").write_bytes(content)
    return tmp / "m.keras"


def empty(folder: Path, tmp: Path) -> Path:
    (tmp / "m.h5").touch()
    return tmp / "m.h5"


def text(folder: Path, tmp: Path) -> Path:
    (tmp / "m.h5").write_text("hello")
    return tmp / "m.h5"


BAD_MODELS: list[tuple[Callable[[Path, Path], Path], str]] = [
    (lambda folder, tmp: tmp / "missing.h5", "does not exist"),
    (lambda folder, tmp: tmp, "is a folder"),
    (empty, "is empty"),
    (text, "is not a complete Keras model"),
    (truncated, "cannot be read as HDF5"),
    (not_a_model, "holds no architecture"),
    (lambda folder, tmp: whole(folder) / "classic.h5", "model.architecture"),
    (lambda folder, tmp: whole(folder) / "new.weights.h5", "model.architecture"),
    (lambda folder, tmp: whole(folder) / "model.json", "model.weights"),
    (short_archive, "not a whole .keras archive"),
    (other_archive, "not a whole .keras archive"),
    (flipped_archive, "m.keras"),
]


@pytest.mark.parametrize(("make", "text"), BAD_MODELS)
def test_files_that_are_no_model(folder: Path, tmp_path: Path, make: Callable[[Path, Path], Path], text: str) -> None:
    path = make(folder, tmp_path)
    with pytest.raises(ModelFileError) as caught:
        read_model(path)
    message = str(caught.value)
    assert text in message
    assert path.name in message
    assert caught.value.remedy or caught.value.found
    assert caught.value.exit_code == 3


def json_with(text: str) -> Callable[[Path, Path], tuple[Path, Path]]:
    def make(folder: Path, tmp: Path) -> tuple[Path, Path]:
        (tmp / "bad.json").write_text(text)
        return tmp / "bad.json", whole(folder) / "classic.h5"

    return make


BAD_PAIRS: list[tuple[Callable[[Path, Path], tuple[Path, Path]], str]] = [
    (json_with("{"), "is not an architecture"),
    (json_with("[1, 2]"), "is not an architecture"),
    (json_with('{"a": 1}'), "is not an architecture"),
    (json_with('{"class_name": "Functional", "module": "keras", "config": {"layers": []}}'), "is not complete"),
    (lambda folder, tmp: (whole(folder) / "classic.h5", whole(folder) / "classic.h5"), "is not an architecture"),
    (lambda folder, tmp: (whole(folder) / "model.json", whole(folder) / "model.json"), "is not a weights file"),
    (lambda folder, tmp: (whole(folder) / "model.json", not_a_model(folder, tmp)), "holds no weights"),
    (lambda folder, tmp: (whole(folder) / "model.json", truncated(folder, tmp)), "cannot be read as HDF5"),
    (lambda folder, tmp: (whole(folder) / "model.json", tmp / "missing.h5"), "does not exist"),
]


@pytest.mark.parametrize(("make", "text"), BAD_PAIRS)
def test_pairs_that_are_no_model(
    folder: Path, tmp_path: Path, make: Callable[[Path, Path], tuple[Path, Path]], text: str
) -> None:
    with pytest.raises(ModelFileError, match=text):
        build_inference(read_architecture_weights(*make(folder, tmp_path)))


def other_weights(keras_module: ModuleType, tmp: Path, units: int, with_dw: bool) -> dict[str, tuple[Path, ...]]:
    layers = keras_module.layers
    x = image = layers.Input((12, 12, 3), name="image")
    x = layers.BatchNormalization(name="bn1")(layers.Conv2D(6, 3, use_bias=False, name="conv1")(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="dw")(x) if with_dw else x
    x = layers.Flatten(name="flat")(layers.MaxPooling2D(2, name="pool")(x))
    return save(keras_module.Model(image, layers.Dense(units, name="prob")(x)), tmp / "other")


@pytest.mark.parametrize("form", ["json", "json_new"])
@pytest.mark.parametrize(("units", "with_dw", "named"), [(5, True, "prob"), (4, False, "dw")])
def test_weights_of_another_architecture(
    folder: Path, tmp_path: Path, form: str, units: int, with_dw: bool, named: str
) -> None:
    weights = other_weights(keras, tmp_path, units, with_dw)[form][1]
    with pytest.raises(ModelFileError) as caught:
        build_inference(read_architecture_weights(whole(folder) / "model.json", weights))
    assert named in str(caught.value) or form == "json_new"


def test_layers_and_operations_that_keras_2_does_not_have_are_told(tmp_path: Path) -> None:
    x = keras.Input((4, 3), name="x")
    y = keras.layers.AdaptiveAveragePooling1D(2, name="adapted")(keras.layers.Dense(4, name="fc")(x * 2.0))
    model = keras.Model(x, keras.ops.cumsum(keras.ops.einsum("abc->abc", y), axis=1))
    model.save(tmp_path / "m.h5")
    model.save(tmp_path / "m.keras")
    for path in (tmp_path / "m.h5", tmp_path / "m.keras"):
        told = build_inference(read_model(path)).traced
        for text in ("3 layer(s)", "the operation Einsum", "the operation Cumsum", "adapted"):
            assert text in told
        assert "Multiply" not in told


@pytest.mark.parametrize("version", KERAS)
@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_code_in_a_file_does_not_run(tmp_path: Path, version: str, suffix: str) -> None:
    module = KERAS[version]
    witness = tmp_path / "it_ran"
    code = eval(f"lambda x: (x, open({str(witness)!r}, 'w'))[0]")
    inner = module.Sequential([module.layers.Input((4,)), module.layers.Lambda(code, name="evil")], name="inner")
    x = module.layers.Input((4,), name="x")
    module.Model(x, inner(x)).save(tmp_path / f"m.{suffix}")
    witness.unlink(missing_ok=True)
    with pytest.raises(UnsafeFileError, match="Lambda in evil"):
        read_model(tmp_path / f"m.{suffix}")
    assert not witness.exists()


def external(file: h5py.File, secret: Path) -> None:
    kernel = file["model_weights/conv1"]
    names = kernel.attrs["weight_names"]
    old = kernel[names[0]]
    shape, dtype = old.shape, old.dtype
    del kernel[names[0]]
    kernel.create_dataset(names[0], shape, dtype, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


def link(file: h5py.File, secret: Path) -> None:
    del file["model_weights/conv1"]
    file["model_weights/conv1"] = h5py.ExternalLink(str(secret), "/")


@pytest.mark.parametrize("attack", [external, link])
def test_an_h5_does_not_read_other_files(
    folder: Path, tmp_path: Path, attack: Callable[[h5py.File, Path], Any]
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"topsecret" * 1000)
    shutil.copy(whole(folder) / "complete.h5", tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        attack(file, secret)
    with pytest.raises(UnsafeFileError, match=r"m.h5 is refused: /model_weights"):
        read_model(tmp_path / "m.h5")


def test_a_checkpoint_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "near.index").touch()
    with pytest.raises(ModelFileError, match=r"near\.index"):
        read_checkpoint(tmp_path / "nothing")
    (tmp_path / "graph.pb").write_bytes(b"no graph at all")
    for is_binary in (True, False):
        with pytest.raises(DnndkPrepError, match="is not a"):
            read_graph(tmp_path / "graph.pb", is_binary)
