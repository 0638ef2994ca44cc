"""`infer`: any graph by the names of its tensors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from dnndk_prep import cli
from dnndk_prep.errors import UsageError
from dnndk_prep.graph.classifier import Classifier
from dnndk_prep.graph.sources import read_source

V1 = tf.compat.v1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tf.Graph().as_default() as graph:
        x = V1.placeholder(tf.float32, [None, 4], name="data/x")
        left, right = tf.split(x, 2, axis=1, name="parts")
        tf.matmul(left, tf.constant([[1.0], [2.0]]), name="score")
        tf.cond(tf.reduce_sum(right) > 0.0, lambda: right, lambda: -right)
        V1.placeholder(tf.int32, [], name="unused")
        with tf.device("/gpu:3"):
            tf.reshape(x, [5, 4], name="five_rows")
    (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    np.save(tmp_path / "x.npy", np.arange(8, dtype=np.float32).reshape(2, 4))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def infer(*words: str) -> int:
    return cli.main(["infer", "g.pb", *words])


@pytest.mark.parametrize("prefix", ["", "my_model/"])
def test_names_of_nodes_and_tensors(folder: Path, prefix: str, capsys: pytest.CaptureFixture[str]):
    named = ["--name", prefix.rstrip("/")] if prefix else []
    fetches = [f"{prefix}score", f"{prefix}parts:0", f"{prefix}parts:1"]
    assert infer("--feed", f"{prefix}data/x:0=x.npy", "--fetch", *fetches, *named, "--out", "o.npz") == 0
    x = np.load("x.npy")
    with np.load("o.npz") as out:
        assert sorted(out) == sorted(fetches)
        np.testing.assert_array_equal(out[fetches[0]], x[:, :1] + 2 * x[:, 1:2])
        np.testing.assert_array_equal(out[fetches[2]], x[:, 2:])
    assert f"{prefix}score: float32 [2, 1]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--feed", "data/x=x.npy", "--fetch", "scroe"], 2, "nearest names: score"),
        (["--feed", "x=x.npy", "--fetch", "score"], 2, "data/x"),
        (["--feed", "data/x=x.npy", "--fetch", "parts:2"], 2, "0 to 1"),
        (["--feed", "data/x=x.npy", "--fetch", "score", "--name", "my"], 2, "nearest names"),
        (["--fetch", "score"], 2, "--feed data/x=FILE.npy"),
        (["--feed", "data/x=missing.npy", "--fetch", "score"], 3, "missing.npy"),
        (["--feed", "data/x=pickled.npy", "--fetch", "score"], 3, "no array"),
        (["--feed", "data/x=wide.npy", "--fetch", "score"], 2, "float32 (None, 4)"),
        (["--feed", "data/x", "--fetch", "score"], 2, "--feed NAME=FILE.npy"),
        (["--feed", "data/x=x.npy", "--fetch", "five_rows"], 3, "Input to reshape is a tensor with 8 values"),
    ],
)
def test_mistakes_are_one_clear_message(
    folder: Path, words: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
):
    np.save("pickled.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.save("wide.npy", np.ones((2, 5), np.float32))
    assert infer(*words) == code
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error


def test_doubles_are_fed_as_floats(folder: Path):
    np.save("double.npy", np.ones((1, 4)))
    assert infer("--feed", "data/x=double.npy", "--fetch", "score", "--out", "o.npz") == 0
    assert np.load("o.npz")["score"].tolist() == [[3.0]]


def test_a_tensor_inside_may_be_fed(folder: Path):
    np.save("left.npy", np.ones((1, 2), np.float32))
    assert infer("--feed", "parts:0=left.npy", "--fetch", "score", "--out", "o.npz") == 0
    assert np.load("o.npz")["score"].tolist() == [[3.0]]


def test_of_several_outputs_the_one_with_the_scores_has_to_be_named(folder: Path):
    ends = {"inputs": [{"name": "data/x"}], "outputs": [{"name": "parts"}, {"name": "score"}]}
    (folder / "graph.json").write_text(json.dumps(ends))
    with pytest.raises(UsageError, match=r"(?s)has 2 outputs.*--output parts"):
        Classifier(read_source(folder / "g.pb"))
    with Classifier(read_source(folder / "g.pb"), output="score") as classifier:
        assert classifier.run({"data/x": np.load("x.npy")})[0].shape == (2, 1)
