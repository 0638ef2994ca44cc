"""What users of this flow suffered from, a test each in the order of the codes: an error that says so, or no pain."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow.core.framework.graph_pb2 import GraphDef

import dnndk_prep
from dnndk_prep import cli
from dnndk_prep.api import OptimizedGraph
from dnndk_prep.check import CheckResult, check
from dnndk_prep.check.network import from_graph_def
from dnndk_prep.data.calibration import from_dataset
from dnndk_prep.data.calibration_files import write_calibration
from dnndk_prep.data.parts import ArrayPart
from dnndk_prep.data.preprocess import Preprocess
from dnndk_prep.data.sources import Dataset
from dnndk_prep.dpu.resolve import resolve_target
from dnndk_prep.errors import DnndkPrepError
from dnndk_prep.explain import codes
from dnndk_prep.export.bundle import quantizer_shape
from dnndk_prep.export.saved_model import signature_names
from dnndk_prep.graph.artifact import TensorSpec
from dnndk_prep.graph.readers import for_reader
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.keras_io.channels_last import to_channels_last
from dnndk_prep.keras_io.checkpoint import CHECKPOINT
from dnndk_prep.keras_io.keras2 import to_keras2
from dnndk_prep.keras_io.layer_graph import flatten

RAW, V1 = tf.raw_ops, tf.compat.v1
RANDOM = np.random.default_rng(0)


class Refused:
    """A context that expects an error with the code of the pain, and keeps it."""

    def __init__(self, number: int) -> None:
        self._code = f"K2D-{number:04}"

    def __enter__(self) -> Refused:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, tb: Any) -> bool:
        assert isinstance(error, DnndkPrepError), "nothing was refused"
        assert error.code == self._code
        self.text = str(error)
        return True


def graph_of(make: Any, *shape: int | None) -> GraphDef:
    with tf.Graph().as_default() as graph:
        make(V1.placeholder(tf.float32, shape, name="x"))
    return graph.as_graph_def()


def judged(make: Any, *shape: int | None, target: str = "zcu104") -> CheckResult:
    """The check of a graph whose last node is its output."""
    graph_def = graph_of(make, *shape)
    network = from_graph_def(graph_def, ["x"], [graph_def.node[-1].name], {"x": shape})
    return check(network, resolve_target(target).dpu)


def on_cpu(result: CheckResult) -> dict[str, str]:
    """The remedy of each node that the CPU gets."""
    return {node.node: node.remedy or "" for node in result.nodes if node.placement == "cpu"}


def ops(graph_def: GraphDef) -> Counter[str]:
    return Counter(node.op for node in graph_def.node)


@pytest.fixture(scope="module")
def net() -> keras.Model:
    """A net with most of what hurts: dropout, batch norms in both places, a model inside, shared and dilated layers."""
    layers = keras.layers
    part = layers.Input((10, 10, 4), name="part")
    inner = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, padding="same", name="conv")(part))
    body = keras.Model(part, inner, name="body")
    shared = layers.Conv2D(4, 1, name="shared")
    x = image = layers.Input((10, 10, 3), name="image")
    x = layers.ReLU(name="relu")(layers.Conv2D(4, 3, padding="same", dilation_rate=2, name="wide")(x))
    x = layers.BatchNormalization(name="late")(x)
    x = layers.LeakyReLU(0.3, name="leaky")(body(shared(body(shared(x)))))
    x = layers.Flatten(name="flat")(layers.Dropout(0.5, name="drop")(layers.Activation("tanh", name="tanh")(x)))
    made = keras.Model(image, layers.Dense(3, activation="softmax", name="prob")(x), name="net")
    made.set_weights([RANDOM.random(weight.shape, np.float32) for weight in made.get_weights()])
    return made


@pytest.fixture(scope="module")
def graph(net: keras.Model) -> dnndk_prep.InferenceGraph:
    return dnndk_prep.open_model(net).to_graph()


@pytest.fixture(scope="module")
def optimized(graph: dnndk_prep.InferenceGraph) -> OptimizedGraph:
    return graph.freeze(reader="1.15").optimize()


def test_0001_nothing_of_the_training_is_left(optimized: OptimizedGraph):
    left = {"Switch", "Merge", "If", "PlaceholderWithDefault", "Assign", "AssignVariableOp", "RandomUniform", "Shape"}
    assert not left & set(ops(optimized.graph_def))
    assert optimized.facts["proof"]["probe"]["max_abs_diff"] <= 1e-5


def test_0002_an_attribute_that_would_change_the_numbers_is_not_dropped():
    def make(x: tf.Tensor) -> None:
        RAW.ResizeBilinear(images=x, size=[9, 9], half_pixel_centers=True, name="grown")

    graph_def = graph_of(make, None, None, None, 4)
    with Refused(2) as error:
        for_reader(graph_def, "1.12", frozenset(["x", "grown"]))
    assert "grown (ResizeBilinear)" in error.text
    assert "half_pixel_centers" in error.text


def test_0003_ops_of_later_releases_get_older_forms_or_are_named(graph: dnndk_prep.InferenceGraph):
    frozen = graph.freeze(reader="1.9")
    assert not {"FusedBatchNormV3", "LeakyRelu", "AddV2"} & set(ops(frozen.graph_def))
    assert frozen.facts["proof"]["probe"]["max_abs_diff"] <= 1e-5
    with Refused(3) as error:
        for_reader(graph_of(_bincount, 2), "1.9", frozenset(["x", "b"]))
    assert "DenseBincount" in error.text


def _bincount(x: tf.Tensor) -> None:
    RAW.DenseBincount(input=[1, 2], size=4, weights=x, name="b")


def test_0004_a_wrong_name_is_answered_with_the_nearest(
    graph: dnndk_prep.InferenceGraph, optimized: OptimizedGraph, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert "prob/Softmax" in (graph.folder / "op_names.txt").read_text()
    np.save(tmp_path / "x.npy", np.zeros((1, 10, 10, 3), np.float32))
    folder = optimized.save(tmp_path / "graph")
    words = ["infer", str(folder / "optimized_graph.pb"), "--feed", f"image={tmp_path / 'x.npy'}"]
    assert cli.main([*words, "--fetch", "prob/Softmx"]) == 2
    said = capsys.readouterr().err
    assert "nearest names: prob/Softmax" in said
    assert "explain K2D-0004" in said
    with Refused(4):
        dnndk_prep.open_model(optimized.folder / "optimized_graph.pb").to_graph(outputs={"prop": "x"}).freeze()


def test_0005_models_of_both_kerases_freeze_without_code_of_the_user(optimized: OptimizedGraph):
    image = tf_keras.Input((6, 6, 1), name="image")
    old = tf_keras.Model(image, tf_keras.layers.Conv2D(2, 3, name="conv")(image), name="old")
    wanted = old.predict(np.ones((1, 6, 6, 1)), verbose=0)
    frozen = dnndk_prep.open_model(old).to_graph().freeze()
    with GraphRunner(frozen.graph_def, frozen.artifact.output_names) as runner:
        (got,) = runner.run({"image": np.ones((1, 6, 6, 1), np.float32)})
    assert np.abs(got - wanted).max() <= 1e-6
    assert ops(optimized.graph_def)["Const"] > 0


def test_0006_files_of_keras_2_open_and_no_setting_is_dropped_unsaid(tmp_path: Path):
    x = image = tf_keras.Input((6, 6, 4), name="image")
    old = tf_keras.Model(image, tf_keras.layers.DepthwiseConv2D(3, name="depthwise")(x))
    old.save(tmp_path / "old.h5")
    # Keras 3 stumbles over what Keras 2 writes into this file.
    with pytest.raises(Exception, match="groups"):
        keras.models.load_model(tmp_path / "old.h5", compile=False)
    made = dnndk_prep.open_model(tmp_path / "old.h5").to_graph()
    assert made.facts["proof"]["probe"]["max_abs_diff"] <= 1e-5
    norm = {"class_name": "BatchNormalization", "config": {"name": "norm", "renorm": True}, "inbound_nodes": []}
    with Refused(6) as error:
        to_keras2(norm)
    assert "'norm'" in error.text
    assert "renorm: True" in error.text


def test_0007_half_a_model_is_said_to_be_half(
    net: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.json").write_text(net.to_json())
    with Refused(7):
        dnndk_prep.open_model(tmp_path / "net.json")
    net.save_weights(tmp_path / "net.weights.h5")
    assert dnndk_prep.open_model(tmp_path / "net.json", tmp_path / "net.weights.h5").facts["trained"] is False
    (tmp_path / "net.json").unlink()
    assert cli.main(["init", "net.weights.h5"]) == 3
    assert "K2D-0007" in capsys.readouterr().err


def test_0008_batch_norms_are_folded_and_those_that_stay_named(optimized: OptimizedGraph):
    assert not ops(optimized.graph_def)["FusedBatchNormV3"] + ops(optimized.graph_def)["FusedBatchNorm"] > 1
    assert any("late" in warning for warning in optimized.warnings)
    assert not any("body/norm" in warning for warning in optimized.warnings)


def test_0009_resource_variables_freeze(graph: dnndk_prep.InferenceGraph):
    assert ops(graph.graph_def)["VarHandleOp"] > 5
    frozen = graph.freeze()
    assert not {"VarHandleOp", "VariableV2", "ReadVariableOp"} & set(ops(frozen.graph_def))


def _data(shape: tuple[int, ...] = (120, 8, 8, 3)) -> Any:
    part = ArrayPart({"": RANDOM.integers(0, 256, shape, dtype=np.uint8)}, np.arange(shape[0]) % 4)
    return from_dataset(Dataset("d", part, part, ()), 100, seed=0)


def test_0010_preprocessing_that_looks_wrong_is_warned_of(tmp_path: Path):
    said = {}
    for name, scale in (("raw", 1.0), ("twice", 1 / 255**2), ("right", 1 / 255)):
        (tmp_path / name).mkdir()
        facts = write_calibration(tmp_path / name, _data(), Preprocess(scale=scale), {"x": (None, 8, 8, 3)}, 10)
        said[name] = " ".join(facts.warnings)
    assert "raw 0..255" in said["raw"]
    assert "normalised twice" in said["twice"]
    assert said["right"] == ""


def test_0011_input_fn_feeds_the_graph_or_says_what_does_not_fit(tmp_path: Path):
    write_calibration(tmp_path, _data(), Preprocess(), {"image/in": (None, 8, 8, 3)}, 10)
    spec = importlib.util.spec_from_file_location("input_fn", tmp_path / "input_fn.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ((name, array),) = module.calib_input(9).items()
    assert (name, array.shape, array.dtype) == ("image/in", (10, 8, 8, 3), np.float32)
    with pytest.raises(ValueError, match="run out"):
        module.calib_input(10)
    with Refused(11) as error:
        write_calibration(tmp_path, _data(), Preprocess(), {"image": (None, 9, 9, 3)}, 10)
    assert "9" in error.text


def test_0012_the_slope_of_the_dpu_is_named(optimized: OptimizedGraph):
    assert any("26/256" in remedy for remedy in on_cpu(optimized.check("zcu104")).values())


def test_0013_the_parts_are_foretold_and_can_fail(
    optimized: OptimizedGraph, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    result = optimized.check("kv260")
    assert len(result.subgraphs) > 2
    folder = optimized.save(tmp_path / "optimize_for_inference")
    words = ["inspect", str(folder / "optimized_graph.pb"), "--target", "kv260", "--json"]
    assert cli.main([*words, "--fail-on", "cpu"]) == 7
    said = capsys.readouterr()
    assert len(json.loads(said.out)["subgraphs"]) == len(result.subgraphs)
    assert "explain K2D-0013" in said.err


def test_0014_activations_that_the_dpu_has_not_are_named(optimized: OptimizedGraph):
    found = on_cpu(optimized.check("zcu104"))
    assert any("tanh" in name for name in found)
    assert all(found[name] for name in found if "tanh" in name)


def test_0015_inputs_of_other_ranks():
    assert quantizer_shape(TensorSpec("x", (None, 16), "float32")) == "?,1,1,16"
    with Refused(15) as error:
        quantizer_shape(TensorSpec("clip", (None, 4, 8, 8, 3), "float32"))
    assert "clip" in error.text
    remedy = on_cpu(judged(lambda x: tf.nn.relu(x, name="y"), None, 16))["x"]
    assert "[batch, 1, 1, 16]" in remedy


def test_0016_shapes_are_constants(optimized: OptimizedGraph):
    assert not {"Shape", "StridedSlice", "Pack"} & set(ops(optimized.graph_def))
    with Refused(16):
        quantizer_shape(TensorSpec("image", (None, None, None, 3), "float32"))


def test_0017_nested_and_shared_layers_are_flat_and_get_weights_of_their_own(graph: dnndk_prep.InferenceGraph):
    own = graph.freeze(reader="1.15").optimize(unshare=True)
    names = [node.name for node in own.graph_def.node]
    assert len(set(names)) == len(names)
    kernels = [node.input[1] for node in own.graph_def.node if node.op == "Conv2D"]
    assert len(kernels) == len(set(kernels)) == 5
    assert own.facts["proof"]["probe"]["max_abs_diff"] <= 1e-5


def test_0018_the_loss_of_int8_is_measured_layer_by_layer(tmp_path: Path):
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = keras.layers.Dense(3, name="dense")(keras.layers.Flatten(name="flat")(x))
    model = keras.Model(image, keras.layers.Softmax(name="prob")(x), name="little")
    x_test = RANDOM.random((20, 8, 8, 3), np.float32)
    y_test = model.predict(x_test, verbose=0).argmax(-1)
    np.savez(tmp_path / "d.npz", x_train=x_test, y_train=y_test, x_test=x_test, y_test=y_test)
    made = dnndk_prep.open_model(model, data=tmp_path / "d.npz").to_graph().freeze(reader="1.15").optimize()
    found = {}
    for bits in (8, 2):
        quantized = made.quantize(count=20, weight_bit=bits, activation_bit=bits)
        rows = [row.split(",") for row in (quantized.folder / "layer_error.csv").read_text().splitlines()]
        found[bits] = min(float(row[rows[0].index("cumulative_sqnr_db")]) for row in rows[1:])
        assert quantized.positions["settings"]["weight_bit"] == bits
        assert "accuracy" in quantized.facts
    assert made.facts["proof"]["accuracy"]["top1"] == 1.0
    assert found[8] > found[2] + 15


def test_0019_names_of_a_signature_are_the_given_ones():
    specs = [TensorSpec("prob/Softmax", (None, 3), "float32")]
    assert list(signature_names("outputs", specs, ["prob"], {"prob": "scores"})) == ["scores"]
    with Refused(19) as error:
        signature_names("outputs", specs, ["prob"], {"porb": "scores"})
    assert "did you mean prob" in error.text


def test_0020_layers_that_cannot_be_turned_exactly_are_named():
    first = {"name": "c", "data_format": "channels_first", "filters": 2, "kernel_size": [3, 3], "activation": "softmax"}
    layers = [
        {"class_name": "InputLayer", "config": {"name": "i", "batch_input_shape": [None, 3, 8, 8]}},
        {"class_name": "Conv2D", "config": first},
    ]
    with Refused(20) as error:
        to_channels_last(flatten({"class_name": "Sequential", "config": {"name": "m", "layers": layers}}, "m.h5"))
    assert "'c'" in error.text


def test_0021_a_recurrent_model_freezes_and_the_bundle_says_why_there_is_none(tmp_path: Path):
    words = keras.Input((5,), name="words")
    x = keras.layers.LSTM(3, name="lstm")(keras.layers.Embedding(20, 4, name="vectors")(words))
    model = keras.Model(words, keras.layers.Dense(1, activation="sigmoid", name="opinion")(x), name="reviews")
    made = dnndk_prep.open_model(model).to_graph(outputs={"opinion": "opinion"}).freeze().optimize()
    assert made.facts["proof"]["probe"]["max_abs_diff"] <= 1e-5
    assert made.artifact.output_names == ["opinion"]
    with Refused(21) as error:
        made.export(tmp_path / "bundle", "zcu104", calib={"words": np.zeros((20, 5))}, count=20)
    assert "lstm" in error.text
    assert not (tmp_path / "bundle").exists()


def test_0022_a_dilated_convolution_is_one_node(optimized: OptimizedGraph):
    assert not {"SpaceToBatchND", "BatchToSpaceND"} & set(ops(optimized.graph_def))
    (wide,) = [node for node in optimized.graph_def.node if node.name == "wide/Conv2D"]
    assert list(wide.attr["dilations"].list.i) == [1, 2, 2, 1]

    def too_wide(x: tf.Tensor) -> None:
        RAW.Conv2D(
            input=x, filter=np.ones((3, 3, 513, 1), np.float32), strides=[1] * 4, padding="SAME",
            dilations=[1, 8, 8, 1], name="y",
        )  # fmt: skip

    assert "y" in on_cpu(judged(too_wide, 1, 32, 32, 513))


def test_0023_resizes_that_the_dpu_does_not_do_are_named():
    def make(x: tf.Tensor) -> None:
        RAW.ResizeBilinear(images=tf.nn.relu(x), size=[100, 100], half_pixel_centers=True, name="y")

    assert on_cpu(judged(make, 1, 32, 32, 16)).get("y")


def test_0024_a_checkpoint_comes_back_to_keras_or_says_what_lacks(
    graph: dnndk_prep.InferenceGraph, net: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    net.save(tmp_path / "net.keras")
    stored = str(graph.folder / CHECKPOINT)
    words = ["ckpt2keras", stored, "--out", str(tmp_path / "out.h5"), "--model"]
    assert cli.main([*words, str(tmp_path / "net.keras")]) == 0
    for ours, theirs in zip(
        keras.models.load_model(tmp_path / "out.h5", compile=False).get_weights(), net.get_weights(), strict=True
    ):
        assert ours.tobytes() == theirs.tobytes()
    image = keras.Input((3,), name="image")
    keras.Model(image, keras.layers.Dense(7, name="unheard_of")(image)).save(tmp_path / "other.keras")
    assert cli.main([*words, str(tmp_path / "other.keras")]) == 3
    said = capsys.readouterr().err
    assert "unheard_of" in said
    assert "explain K2D-0024" in said


def test_0025_all_classes_that_keras_has_not_are_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    inner: list[dict[str, Any]] = [
        {"class_name": "InputLayer", "config": {"name": "i", "batch_input_shape": [None, 4]}, "inbound_nodes": []},
        {"class_name": "MyScale", "config": {"name": "a"}, "inbound_nodes": [[["i", 0, 0, {}]]]},
        {"class_name": "Mine>MyNorm", "config": {"name": "b"}, "inbound_nodes": [[["a", 0, 0, {}]]]},
    ]
    config = {"name": "m", "layers": inner, "input_layers": [["i", 0, 0]], "output_layers": [["b", 0, 0]]}
    (tmp_path / "m.json").write_text(json.dumps({"class_name": "Functional", "config": config}))
    assert cli.main(["inspect", str(tmp_path / "m.json")]) == 3
    said = capsys.readouterr().err
    assert "a: MyScale; b: Mine>MyNorm" in said
    assert "explain K2D-0025" in said
    (tmp_path / "p.yaml").write_text("model: {path: m.json, custom_objects: ['mine:MyScale']}\n")
    assert cli.main(["run", str(tmp_path / "p.yaml")]) == 2
    said = capsys.readouterr().err
    assert "--allow-custom-code" in said
    assert "explain K2D-0025" in said


def test_each_of_the_first_codes_has_its_test():
    tested = re.findall(r"^def test_(\d{4})_", Path(__file__).read_text(), re.M)
    assert tested == [code.removeprefix("K2D-") for code in list(codes())[:25]]
