"""Graphs that real TensorFlows 1 wrote, taken in and held against what those TensorFlows gave for them."""

from __future__ import annotations

import functools
import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conversion import OLDEST, assert_within
from environments import READERS, without_tensorflow

from dnndk_prep import cli
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.foreign import foreign_graph
from dnndk_prep.graph.kinds import GRAPH
from dnndk_prep.graph.readers import for_reader
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.graph.sources import GraphSource
from dnndk_prep.graph.wanted import Wanted

CASES = ("keras_phase", "layers_flag", "keep_prob", "training_mode", "saved_model", "loop", "flattens")
# What belongs to training, and must not be left in a network without a loop.
TRAINING = ("Switch", "Merge", "If", "RandomUniform", "PlaceholderWithDefault", "Assign", "AssignVariableOp", "Floor")
EXTRA = {"keep_prob": "  checkpoint: {folder}\n  inputs: {{image: [null, 12, 12, 3]}}\n"}


@pytest.fixture(scope="module")
def writers(
    old_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Path]]:
    """What each old TensorFlow wrote, once for all readers."""

    @functools.cache
    def written_by(version: str) -> dict[str, Path]:
        folder = tmp_path_factory.mktemp(f"foreign-{version}")
        done = subprocess.run(
            [old_python(version), "-W", "ignore", Path(__file__).with_name("foreign_models.py"), folder],
            capture_output=True,
            text=True,
            env=without_tensorflow(),
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return {case: Path(path) for case, path in json.loads(done.stdout.splitlines()[-1]).items()}

    return written_by


@pytest.fixture(params=READERS)
def written(request: pytest.FixtureRequest, writers: Callable[[str], dict[str, Path]]) -> dict[str, Path]:
    """What one old TensorFlow wrote: the file to enter with, by the case."""
    return writers(request.param)


@functools.cache
def entered(path: Path, case: str, level: str = OLDEST) -> GraphArtifact:
    """The optimized graph of a pipeline that begins with the file, once for all tests; its folder is `folder_of`."""
    folder = folder_of(path, level)
    folder.mkdir()
    extra = EXTRA.get(case, "").format(folder=path.parent)
    yaml = f'model:\n  path: {path}\n{extra}graph: {{reader: "{level}"}}\nworkspace: workspace\n'
    (folder / "pipeline.yaml").write_text(yaml)
    assert cli.main(["run", str(folder / "pipeline.yaml"), "--to", "optimize_for_inference"]) == 0
    return GraphArtifact.load(folder / "workspace" / "optimize_for_inference")


def folder_of(path: Path, level: str = OLDEST) -> Path:
    return path.parent / f"entered-{level}"


def given_and_wanted(path: Path, graph: GraphArtifact) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """What the graph is fed, and what its TensorFlow gave for that."""
    with np.load(path.parent / "in.npz") as given, np.load(path.parent / "out.npz") as gave:
        # A signature's inputs stand in the order of its keys; all others have one.
        feeds = dict(zip(graph.input_names, [given[key] for key in sorted(given)], strict=True))
        return feeds, [gave[f"y{i}"] for i in range(len(gave.files))]


@pytest.mark.parametrize("case", CASES)
def test_a_graph_gives_what_its_tensorflow_gave(written: dict[str, Path], case: str):
    path = written[case]
    assert_plain(path, case, entered(path, case))
    stage = "keras_2_tf" if case in WITH_VARIABLES else "freeze_graph"
    graph = entered(path, case)
    names = (folder_of(path) / "workspace" / stage / "op_names.txt").read_text()
    for name in (*graph.input_names, *graph.output_names):
        assert name in names


@pytest.mark.parametrize("case", CASES)
def test_the_newest_level(writers: Callable[[str], dict[str, Path]], case: str):
    path = writers(READERS[-1])[case]
    assert_plain(path, case, entered(path, case, READERS[-1]))


def assert_plain(path: Path, case: str, graph: GraphArtifact) -> None:
    """The numbers that its TensorFlow gave, and nothing of a training."""
    feeds, wanted = given_and_wanted(path, graph)
    with GraphRunner(graph.graph_def, graph.output_names) as runner:
        assert_within(runner.run(feeds), wanted)
    if case != "loop":
        assert not set(TRAINING) & {node.op for node in graph.graph_def.node}


WITH_VARIABLES = ("layers_flag", "keep_prob", "training_mode", "saved_model")


@pytest.mark.parametrize("case", CASES)
def test_it_is_read_by_the_oldest_tensorflow(reader, written: dict[str, Path], case: str):
    graph = entered(written[case], case)
    feeds, wanted = given_and_wanted(written[case], graph)
    assert_within(reader.run(graph, feeds), wanted)


def test_every_flatten_has_a_constant_shape(written: dict[str, Path]):
    graph = entered(written["flattens"], "flattens")
    found = Counter(node.op for node in graph.graph_def.node)
    assert found["Reshape"] == 5
    assert not {"Shape", "StridedSlice", "Pack", "Prod"} & set(found)
    nodes = {node.name: node for node in graph.graph_def.node}
    shapes = [nodes[node.input[1]].attr["value"].tensor for node in nodes.values() if node.op == "Reshape"]
    shapes = [tf.make_ndarray(shape).tolist() for shape in shapes]
    assert shapes == [[-1, 100]] * 5


def test_flags_and_labels_are_told_apart(written: dict[str, Path], capsys: pytest.CaptureFixture[str]):
    graph, folder = entered(written["layers_flag"], "layers_flag"), folder_of(written["layers_flag"])
    assert (graph.input_names, graph.output_names) == (["image"], ["logits/BiasAdd"])
    text = (folder / "workspace" / "keras_2_tf" / "op_names.txt").read_text()
    assert "is_training is set to False" in text
    assert "labels" not in text
    capsys.readouterr()
    assert cli.main(["plan", str(folder / "pipeline.yaml")]) == 0
    assert "left out: model.ckpt-7.meta enters at keras_2_tf" in capsys.readouterr().out


def test_a_training_graph_says_what_was_cut(written: dict[str, Path]):
    entered(written["training_mode"], "training_mode")
    record = json.loads((folder_of(written["training_mode"]) / "workspace" / "keras_2_tf" / "stage.json").read_text())
    assert any("dropout" in note for note in record["facts"]["cut"])
    assert any("moving averages" in note for note in record["facts"]["cut"])


def test_a_missing_checkpoint_is_one_clear_message(
    written: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "pipeline.yaml").write_text(f"model: {{path: {written['keep_prob']}}}\n")
    assert cli.main(["run", str(tmp_path / "pipeline.yaml"), "--to", "freeze_graph"]) == 3
    error = capsys.readouterr().err
    assert "model.checkpoint" in error
    assert "Traceback" not in error


def test_a_loop_of_todays_tensorflow(reader):
    """Its lists are TensorArrays for them: 1.9 and 1.12 have other lists, or none."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 3, 4], name="x")
        tf.identity(tf.scan(lambda last, row: 0.5 * last + tf.tanh(row), x), name="out")
    assert "TensorListReserve" in str(graph.as_graph_def())
    found = foreign_graph(GraphSource("g.pb", GRAPH, graph.as_graph_def()), Wanted())
    names = frozenset(spec.name for spec in (*found.inputs, *found.outputs))
    artifact = GraphArtifact(
        for_reader(found.graph_def, reader.version, names), found.inputs, found.outputs, reader.version
    )
    feed = np.random.default_rng(1).random((5, 3, 4)).astype(np.float32)
    with GraphRunner(graph.as_graph_def(), ["out"]) as runner:
        assert_within(reader.run(artifact, {"x": feed}), runner.run({"x": feed}))
