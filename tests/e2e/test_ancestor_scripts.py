"""The scripts of older flows, called as their run_all.sh called them."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
from keras_models import made, save
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.run import GraphRunner

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TO_NOTHING = ("--output_graph=o.pb", "--output_node_names=a")
TRAINING_ONLY = {"VarHandleOp", "ReadVariableOp", "AssignVariableOp", "SaveV2", "RestoreV2", "Identity"}


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a script in the test's folder, in this process: importing TensorFlow anew takes seconds."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *words: str | Path) -> Result:
        monkeypatch.syspath_prepend(SCRIPTS)
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(SCRIPTS / name), run_name="__main__")
        code = caught.value.code
        return Result(code if isinstance(code, int) else 1, *capfd.readouterr())

    return run


@pytest.fixture
def done(script: Run) -> Callable[..., str]:
    def run(name: str, *words: str | Path) -> str:
        result = script(name, *words)
        assert result.code == 0, result.err
        return result.out

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model as its author saved it, and what it predicts."""
    folder = tmp_path_factory.mktemp("ancestors")
    network = made("cnn", keras)
    save(network, folder)
    x = np.random.default_rng(0).random((4, 12, 12, 3), np.float32)
    np.savez(folder / "wanted.npz", x=x, y=network.predict(x, verbose=0))
    return folder


def check(graph: Path, model: Path, output: str = "prob/Softmax") -> set[str]:
    """The ops of the graph, after it was held to what Keras predicts."""
    graph_def = GraphDef.FromString(graph.read_bytes())
    with np.load(model / "wanted.npz") as file, GraphRunner(graph_def, [output]) as runner:
        assert np.abs(runner.run({"image": file["x"]})[0] - file["y"]).max() <= 1e-5
    return {node.op for node in graph_def.node}


def test_the_flow_of_the_application_note(model: Path, tmp_path: Path, done: Callable[..., str]) -> None:
    pieces = ["--keras_json", model / "model.json", "--keras_hdf5", model / "classic.h5"]
    said = done("keras_2_tf.py", *pieces, "--tfckpt=./out/tf_chkpt.ckpt", "--tf_graph=./out/tf_infer_graph.pb")
    assert "prob/Softmax" in said
    done(
        "freeze_graph.py",
        *("--input_graph=./out/tf_infer_graph.pb", "--input_checkpoint=./out/tf_chkpt.ckpt", "--input_binary=true"),
        *("--output_graph=./freeze/frozen_graph.pb", "--output_node_names=prob/Softmax"),
    )
    frozen = check(tmp_path / "freeze/frozen_graph.pb", model)
    assert not frozen & (TRAINING_ONLY - {"Identity"})
    done(
        "optimize_for_inference.py",
        *("--input=./freeze/frozen_graph.pb", "--output=./freeze/optimized_graph.pb", "--frozen_graph=True"),
        *("--input_names=image", "--output_names=prob/Softmax"),
    )
    optimized = check(tmp_path / "freeze/optimized_graph.pb", model)
    assert not optimized & (TRAINING_ONLY | {"FusedBatchNorm", "FusedBatchNormV3"})


def test_a_complete_model_and_a_text_graph(model: Path, tmp_path: Path, done: Callable[..., str]) -> None:
    done("keras_2_tf.py", "-kh", model / "complete.h5", "-tfc", "c/ckpt", "-tfg", "c/graph.pbtxt")
    assert (tmp_path / "c/graph.pbtxt").read_text().startswith("node {")
    done(
        "freeze_graph.py",
        *("--input_graph", "c/graph.pbtxt", "--input_checkpoint", "c/ckpt", "--input_binary", "false"),
        *("--output_graph", "f.pb", "--output_node_names", "prob/Softmax"),
    )
    check(tmp_path / "f.pb", model)


def test_save_graph_and_checkpoint(model: Path, tmp_path: Path, done: Callable[..., str]) -> None:
    done(
        "save_graph_and_checkpoint.py",
        "-w",
        model / "classic.h5",
        "-j",
        model / "model.json",
        "-o",
        "out",
    )
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    checkpoint = [f"tf_chkpt.ckpt.{end}" for end in ("data-00000-of-00001", "index", "meta")]
    assert found == ["checkpoint", "op_names.txt", *checkpoint, "tf_infer_graph.pb", "tf_infer_graph.pbtxt"]
    assert (tmp_path / "out/op_names.txt").read_text().startswith("input   image ")


def test_keras_to_tensorflow(model: Path, tmp_path: Path, done: Callable[..., str]) -> None:
    done("keras_to_tensorflow.py", "--input_model", model / "complete.h5", "--output_model", "o/m.pb")
    check(tmp_path / "o/m.pb", model)
    done(
        "keras_to_tensorflow.py",
        *(
            "--input_model",
            model / "classic.h5",
            "--input_model_json",
            model / "model.json",
            "--output_model",
            "p/m.pb",
        ),
        *("--output_nodes_prefix", "result", "--save_graph_def", "--output_meta_ckpt=true"),
    )
    check(tmp_path / "p/m.pb", model, "result0")
    assert {path.name for path in (tmp_path / "p").iterdir()} >= {"m.pb", "m.pbtxt", "m.ckpt.index", "checkpoint"}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["keras_2_tf.py", "-kh", "missing.h5"], 3, "missing.h5 does not exist"),
        (["keras_to_tensorflow.py", "--input_model", "cut.h5", "--output_model", "o.pb"], 3, "cannot be read as HDF5"),
        (
            ["freeze_graph.py", "--input_graph=cut.h5", "--input_checkpoint=c", "--input_binary=true", *TO_NOTHING],
            3,
            "is not a binary GraphDef",
        ),
        (["freeze_graph.py", "--input_graph", "x.pb"], 2, "required"),
        (["keras_2_tf.py"], 2, "pipeline.yaml"),
        (["train_save.py"], 2, "pipeline.yaml"),
    ],
)
def test_errors_are_one_message(
    script: Run, model: Path, tmp_path: Path, words: list[str], code: int, text: str
) -> None:
    content = (model / "complete.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: len(content) // 2])
    result = script(words[0], *words[1:])
    assert result.code == code, result.err
    assert text in result.err
    assert "Traceback" not in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.h5"]


def test_an_output_that_is_not_there(model: Path, script: Run, done: Callable[..., str]) -> None:
    done("keras_2_tf.py", "-kh", model / "complete.h5", "-tfc", "c/ckpt", "-tfg", "c/graph.pb")
    words = ["--input_graph=c/graph.pb", "--input_checkpoint=c/ckpt", "--input_binary=true", "--output_graph=o.pb"]
    result = script("freeze_graph.py", *words, "--output_node_names=prob/Softmx")
    assert result.code == 4
    assert "prob/Softmax" in result.err


def test_from_a_checkout_in_which_nothing_is_installed(tmp_path: Path) -> None:
    command = [sys.executable, SCRIPTS / "keras_2_tf.py", "-kh", "missing.h5"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 3
    assert result.stderr.startswith("error: missing.h5 does not exist")
