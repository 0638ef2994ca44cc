"""The documentation, as a newcomer follows it: all that a page says, in its order, in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pages
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from dnndk_prep import cli
from dnndk_prep.export.saved_model import run_saved_model
from dnndk_prep.graph.artifact import GraphArtifact

TUTORIALS = pages.DOCS / "tutorials"
HOW_TO = pages.DOCS / "how-to"
RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def env() -> dict[str, str]:
    """With the programs beside the Python of the tests."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch, env) -> Callable[[str], Path]:
    """`followed(tutorial)` is a copy of its folder, after all that its page says; done once."""
    done: dict[str, Path] = {}

    def follow(name: str) -> Path:
        if name not in done:
            folder = tmp_path_factory.mktemp("tutorials") / name
            shutil.copytree(TUTORIALS / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
            done[name] = pages.Reader(folder, patch, env).follow(TUTORIALS / name / "README.md")
        return done[name]

    return follow


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who reads a how-to: a small model, data, a YAML, and the workspace of a run."""
    folder = tmp_path_factory.mktemp("desk")
    x = image = layers.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, use_bias=False, name="conv1")(x)
    x = layers.ReLU(name="relu1")(layers.BatchNormalization(name="bn1")(x))
    x = layers.Flatten(name="flat")(layers.MaxPooling2D(2, name="pool")(x))
    keras.Model(image, layers.Dense(4, activation="softmax", name="prob")(x), name="my_model").save(
        folder / "my_model.h5"
    )
    data = {f"x_{part}": RANDOM.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8) for part in ("train", "test")}
    np.savez(folder / "data.npz", **data, y_train=np.arange(40) % 4, y_test=np.arange(40) % 4)
    np.save(folder / "x.npy", RANDOM.random((1, 16, 16, 3), np.float32))
    np.save(folder / "images.npy", RANDOM.random((100, 16, 16, 3), np.float32))
    (folder / "pipeline.yaml").write_text(
        "model: {path: my_model.h5}\ndataset: {name: npz, path: data.npz}\ncalibration: {count: 40}\n"
        "preprocess: {channels: rgb, scale: 0.00392156862745098}\ntarget: {board: kv260, toolchain: vitis-ai-2.5}\n"
    )
    assert cli.main(["run", str(folder / "pipeline.yaml")]) == 0
    shutil.copy(folder / "workspace/freeze_graph/frozen_graph.pb", folder / "frozen.pb")
    shutil.copy(folder / "workspace/quantize/quantize_eval_model.pb", folder / "quantized.pb")
    for part in (folder / "workspace/keras_2_tf").glob("tf_chkpt.ckpt.*"):
        shutil.copy(part, folder / part.name.replace("tf_chkpt", "model"))
    return folder


@pytest.fixture
def read(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> Callable[..., Path]:
    """`read(page)` does what a how-to says, in a copy of the desk; gives that copy."""

    def follow(name: str, folder: str = ".") -> Path:
        shutil.copytree(desk, tmp_path / "desk")
        pages.Reader(tmp_path / "desk" / folder, monkeypatch, env).follow(HOW_TO / name)
        return tmp_path / "desk"

    return follow


def facts(workspace: Path, stage: str) -> dict[str, Any]:
    return json.loads((workspace / stage / "stage.json").read_text())["facts"]


@pytest.mark.parametrize(
    ("name", "workspace", "top1"),
    [
        ("sign", "workspace", 1.0),
        ("fashion", "workspace_ffnn", 0.8),
        ("fashion", "workspace_cnn", 0.8),
        ("text", "workspace", 0.9),
        pytest.param("first_bundle", "workspace", 0.75, marks=pytest.mark.slow),
        pytest.param("segmentation", "workspace", 0.9, marks=pytest.mark.slow),
    ],
)
def test_no_stage_changes_what_was_learnt(name: str, workspace: str, top1: float, followed: Callable[[str], Path]):
    found = set()
    for stage in ("keras_2_tf", "freeze_graph", "optimize_for_inference"):
        proof = facts(followed(name) / workspace, stage)["proof"]
        assert proof["test"]["max_abs_diff"] <= 1e-5
        found.add(proof["accuracy"]["top1"])
    assert len(found) == 1
    assert found.pop() >= top1


@pytest.mark.slow
def test_debugging_a_drop(followed: Callable[[str], Path]):
    """Half a minute of training and of searching."""
    found = facts(followed("int8_drop") / "workspace", "quantize")["accuracy"]
    assert found["float"]["top1"] > 0.8
    assert found["vendor"]["top1"] < found["float"]["top1"] - 0.05
    assert found["best"]["top1"] > found["float"]["top1"] - 0.02


def test_json_and_weights_reach_the_bundle(followed: Callable[[str], Path]):
    workspace = followed("json_weights") / "workspace"
    assert (workspace / "export" / "dnndk" / "decent_q.sh").is_file()
    for stage in ("keras_2_tf", "freeze_graph", "optimize_for_inference"):
        assert facts(workspace, stage)["proof"]["probe"]["max_abs_diff"] <= 1e-5


@pytest.mark.slow
def test_the_segmentation_has_a_mean_iou(followed: Callable[[str], Path]):
    found = facts(followed("segmentation") / "workspace", "quantize")["accuracy"]
    assert found["float"]["mean_iou"] > 0.6
    assert abs(found["vendor"]["mean_iou"] - found["float"]["mean_iou"]) < 0.05


@pytest.mark.parametrize("page", ["boards", "ci", "environments", "operator-check", "tensorboard"])
def test_a_how_to_works(page: str, read: Callable[..., Path]):
    read(f"{page}.md")


def test_node_names_are_those_of_the_page(read: Callable[..., Path]):
    folder = read("node-names.md")
    names = GraphArtifact.load(folder / "workspace" / "optimize_for_inference")
    assert (names.input_names, names.output_names) == (["camera"], ["scores"])
    (told,) = (block for block in pages.blocks(HOW_TO / "node-names.md") if block.language == "text")
    assert cli.main(["run", str(folder / "pipeline.yaml"), "--set", "graph={}", "--to", "keras_2_tf"]) == 0
    listing = (folder / "workspace/keras_2_tf/op_names.txt").read_text()
    assert listing.startswith(told.text.rpartition("        ...")[0])


def test_a_quantized_graph_is_measured(read: Callable[..., Path]):
    assert (read("quantize.md") / "quantized" / "quantize_eval_model.pb").is_file()


def test_a_bundle_is_checked(read: Callable[..., Path]):
    read("bundles.md", "workspace/export/vitis_ai")


def test_graphs_are_run_by_names(read: Callable[..., Path]):
    assert np.load(read("tensorflow-graphs.md") / "y.npz")["my_model/prob/Softmax"].shape == (1, 4)


def test_a_checkpoint_comes_back(read: Callable[..., Path]):
    folder = read("ckpt2keras.md")
    (old, new) = (keras.models.load_model(folder / name) for name in ("my_model.h5", "filled.h5"))
    for one, other in zip(old.get_weights(), new.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_java_is_told_the_right_names(read: Callable[..., Path]):
    """The program on the page feeds and fetches what the SavedModel has; TensorFlow starts for each of its commands."""
    folder = read("java.md")
    (program,) = (block.text for block in pages.blocks(HOW_TO / "java.md") if block.language == "java")
    loaded = tf.saved_model.load(str(folder / "workspace/export/saved_model/answer/1"))
    signature = loaded.signatures["serving_default"]
    assert f'.feed("{signature.inputs[0].name}"' in program
    (fetched,) = (line for line in program.splitlines() if ".fetch(" in line)
    assert signature.graph.get_tensor_by_name(fetched.split('"')[1]).shape.as_list() == [None, 4]


@pytest.mark.slow
def test_the_saved_model_of_the_page(followed: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, env, tmp_path):
    """Starts TensorFlow for each command, and a compiler."""
    shutil.copytree(followed("fashion") / "workspace_ffnn", tmp_path / "workspace")
    shutil.copy(pages.ROOT / "tests/e2e/c/run_saved_model.c", tmp_path)
    pages.Reader(tmp_path, monkeypatch, env).follow(HOW_TO / "saved_model.md")
    assert (tmp_path / "run_saved_model").is_file()


@pytest.mark.slow
def test_the_api_in_ten_lines(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str]):
    shutil.copy(desk / "my_model.h5", tmp_path)
    (tmp_path / "my_images").mkdir()
    for i, pixels in enumerate(RANDOM.integers(0, 256, (100, 16, 16, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "my_images" / f"{i}.png")
    pages.Reader(tmp_path, monkeypatch, env).follow(pages.DOCS / "reference" / "python_api.md")
    assert (tmp_path / "bundle" / "vitis_ai" / "quantize.sh").is_file()


def test_each_page_with_commands_is_followed():
    """A new page with commands is followed above, or this says so; the README in test_real_files.py."""
    text = Path(__file__).read_text(encoding="utf-8")
    for page in pages.pages()[1:]:
        runs = [block for block in pages.blocks(page) if block.language in ("sh", "python") and block.elsewhere is None]
        name = page.parent.name if page.name == "README.md" else page.stem
        assert not runs or f'"{name}"' in text or f"{name}.md" in text, page


def test_the_sign_of_ten_numbers(followed: Callable[[str], Path]):
    numbers = np.array([range(1, 11), range(-10, 0)], np.float32)
    saved = followed("sign") / "workspace" / "export" / "saved_model" / "sign" / "1"
    got = run_saved_model(saved, ["serve"], "serving_default", {"numbers": numbers})["probabilities"]
    assert got.argmax(-1).tolist() == [1, 0]


def test_both_fashion_models_have_one_signature(followed: Callable[[str], Path]):
    folders = [
        followed("fashion") / f"workspace_{name}" / "export" / "saved_model" / "fashion" / version
        for name, version in (("ffnn", "1"), ("cnn", "2"))
    ]
    metas = [SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0] for folder in folders]
    assert metas[0].signature_def == metas[1].signature_def
    assert metas[0].meta_info_def.tags == metas[1].meta_info_def.tags == ["serve"]
    signature = metas[0].signature_def["serving_default"]
    assert {key: info.name for key, info in signature.inputs.items()} == {
        "pixels": "input_input:0",
        "keras_learning_phase": "keras_learning_phase:0",
    }
    assert {key: info.name for key, info in signature.outputs.items()} == {"probabilities": "output/Softmax:0"}
    for folder in folders:
        assert (folder / "assets" / "labels.txt").read_text().splitlines()[1] == "Trouser"


def test_the_text_classifier_runs_by_its_new_names(followed: Callable[[str], Path]):
    workspace = followed("text") / "workspace"
    graph = GraphArtifact.load(workspace / "optimize_for_inference")
    assert (graph.input_names, graph.output_names) == (["words"], ["opinion"])
    assert not graph.graph_def.library.function
    good, bad = np.zeros((2, 1, 80), np.float32)
    good[0, -30:], bad[0, -30:] = np.arange(13, 43), np.arange(43, 73)
    loaded = tf.saved_model.load(str(workspace / "export" / "saved_model" / "reviews" / "1"))
    opinion = loaded.signatures["serving_default"](words=tf.constant(np.concatenate([good, bad])))["opinion"].numpy()
    assert opinion.argmax(-1).tolist() == [1, 0]
