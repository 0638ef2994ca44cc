"""graph.batch: a graph for a fixed number of images, of a Keras model and of a graph that came in."""

import json
from pathlib import Path

import keras
import pytest
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep import cli

COMPUTED = {"Shape", "StridedSlice", "Pack"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transposed convolution whose height and width do not grow by whole numbers, and a product behind a Flatten."""
    image = keras.Input((5, 5, 2), name="image")
    grown = keras.layers.Conv2DTranspose(3, 4, strides=2, name="grown")(image)
    scores = keras.layers.Dense(4, name="scores")(keras.layers.Flatten()(grown))
    path = tmp_path_factory.mktemp("model") / "net.h5"
    keras.Model(image, scores).save(path)
    return path


def run(folder: Path, model: Path, *words: str) -> int:
    (folder / "p.yaml").write_text("")
    command = ["run", str(folder / "p.yaml"), "--workspace", str(folder / "workspace"), "--set", f"model.path={model}"]
    return cli.main([*command, "--to", "optimize_for_inference", *words])


def result(folder: Path) -> tuple[GraphDef, dict]:
    stage = folder / "workspace" / "optimize_for_inference"
    graph_def = GraphDef.FromString((stage / "optimized_graph.pb").read_bytes())
    return graph_def, json.loads((stage / "graph.json").read_text())


def test_what_follows_from_the_batch_is_constant(model: Path, tmp_path: Path) -> None:
    assert run(tmp_path, model, "--set", "graph.batch=2") == 0
    graph_def, facts = result(tmp_path)
    assert facts["inputs"][0]["shape"] == [2, 5, 5, 2]
    assert facts["outputs"][0]["shape"] == [2, 4]
    nodes = {node.name: node for node in graph_def.node}
    assert not COMPUTED & {node.op for node in graph_def.node}
    (grown,) = (node for node in graph_def.node if node.op == "Conv2DBackpropInput")
    assert nodes[grown.input[0]].op == "Const"

    assert run(tmp_path, model) == 0
    graph_def, facts = result(tmp_path)
    assert facts["inputs"][0]["shape"] == [None, 5, 5, 2]
    assert {"Shape", "Pack"} <= {node.op for node in graph_def.node}


def test_of_a_graph_that_came_in(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "first").mkdir()
    assert run(tmp_path / "first", model) == 0
    frozen = tmp_path / "first" / "workspace" / "freeze_graph" / "frozen_graph.pb"
    assert run(tmp_path, frozen, "--set", "graph.batch=3") == 0
    graph_def, facts = result(tmp_path)
    assert facts["inputs"][0]["shape"] == [3, 5, 5, 2]
    assert not COMPUTED & {node.op for node in graph_def.node}

    fixed = tmp_path / "workspace" / "optimize_for_inference" / "optimized_graph.pb"
    (tmp_path / "other").mkdir()
    capsys.readouterr()
    assert run(tmp_path / "other", fixed, "--set", "graph.batch=4") == 2
    assert "graph.batch: 4 is not the batch of the model" in capsys.readouterr().err
