"""TensorBoard itself shows the exported graph: it is started on the folder, and asked for the graph over HTTP."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import pytest
from environments import without_tensorflow
from google.protobuf import text_format
from keras import layers
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep import cli
from dnndk_prep.export.tensorboard import EVENTS
from dnndk_prep.graph.artifact import GraphArtifact

SECONDS = 60


@pytest.fixture(scope="module", params=["", "my/model"])
def prefix(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def workspace(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the graph of a small CNN whose dense layer is too large to be shown."""
    folder = tmp_path_factory.mktemp("tensorboard")
    x = image = layers.Input((16, 16, 3), name="image")
    x = layers.ReLU(name="relu")(layers.Conv2D(8, 3, name="conv")(x))
    keras.Model(image, layers.Dense(5, name="fc")(layers.Flatten(name="flat")(x))).save(folder / "m.h5")
    (folder / "p.yaml").write_text(
        f"model: {{path: m.h5}}\ntensorboard: {{prefix: '{prefix}'}}\ntarget: {{bundles: false}}\n"
    )
    assert cli.main(["run", str(folder / "p.yaml")]) == 0
    return folder / "workspace"


@contextmanager
def tensorboard(python: Path, logdir: Path) -> Iterator[Callable[[str], bytes]]:
    """A TensorBoard on `logdir` while the block runs: asks it for a path."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python.parent / "tensorboard", "--logdir", logdir, "--host", "127.0.0.1", "--port", port]
    log = logdir.parent / "tensorboard.log"
    with log.open("w") as output:
        process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output, env=without_tensorflow())

        def ask(path: str) -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=SECONDS) as answer:
                return answer.read()

        try:
            end = time.monotonic() + SECONDS
            while not _has_graph(ask):
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < end, log.read_text()[-2000:]
                time.sleep(0.3)
            yield ask
        finally:
            process.terminate()
            process.wait(timeout=30)


def _has_graph(ask: Callable[[str], bytes]) -> bool:
    try:
        return bool(json.loads(ask("data/plugin/graphs/info"))["."]["run_graph"])
    # Not there yet: no server, or no run has been read.
    except (OSError, KeyError):
        return False


@pytest.mark.parametrize("release", ["1.15", "tensorboard"])
def test_tensorboard_gives_the_graph(release: str, prefix: str, workspace: Path, old_python: Callable[[str], Path]):
    with tensorboard(old_python(release), workspace / "export" / "tensorboard") as ask:
        limits = "large_attrs_key=_too_large_attrs&limit_attr_size=1024"
        text = ask(f"data/plugin/graphs/graph?run=.&conceptual=false&{limits}").decode()
    shown = text_format.Parse(text, GraphDef())
    graph = GraphArtifact.load(workspace / "optimize_for_inference").graph_def
    scope = f"{prefix}/" if prefix else ""
    assert [(node.name, node.op, list(node.input)) for node in shown.node] == [
        (scope + node.name, node.op, [scope + name for name in node.input]) for node in graph.node
    ]
    shapes = {
        node.name: [[size.size for size in shape.dim] for shape in node.attr["_output_shapes"].list.shape]
        for node in shown.node
    }
    assert shapes[f"{scope}image"] == [[-1, 16, 16, 3]]
    assert shapes[f"{scope}fc/BiasAdd"] == [[-1, 5]]


def test_the_file_is_small_and_the_same_every_time(workspace: Path):
    path = workspace / "export" / "tensorboard" / EVENTS
    before = path.read_bytes()
    assert len(before) < 20_000 < (workspace / "optimize_for_inference" / "optimized_graph.pb").stat().st_size
    assert cli.main(["run", str(workspace.parent / "p.yaml"), "--only", "export", "--force"]) == 0
    assert path.read_bytes() == before


def test_a_prefix_that_is_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "p.yaml").write_text("tensorboard: {prefix: 'my model'}\n")
    assert cli.main(["check", str(tmp_path / "p.yaml")]) == 2
    assert "tensorboard.prefix" in capsys.readouterr().err
