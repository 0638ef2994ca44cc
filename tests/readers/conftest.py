"""The old TensorFlows as fixtures: one long-lived process each."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import READERS

from dnndk_prep.graph.artifact import GraphArtifact, serialize


class Reader:
    """One old TensorFlow; `run` gives the outputs, or raises AssertionError with its words."""

    def __init__(self, version: str, python: Path, folder: Path) -> None:
        self.version, self._folder = version, folder
        worker = Path(__file__).with_name("reader_worker.py")
        self._process = subprocess.Popen(
            [python, "-W", "ignore", worker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "log.txt").open("w"),
            text=True,
        )

    def run(self, artifact: GraphArtifact, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        (self._folder / "graph.pb").write_bytes(serialize(artifact.graph_def))
        return self.ask({"graph": str(self._folder / "graph.pb")}, feeds, artifact.output_names)

    def ask(self, task: dict[str, Any], feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        files = {"feeds": str(self._folder / "in.npz"), "outputs": str(self._folder / "out.npz")}
        np.savez(files["feeds"], **feeds)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**task, **files, "fetches": list(fetches)}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"TensorFlow {self.version} died: {(self._folder / 'log.txt').read_text()[-2000:]}"
        answer = json.loads(line)
        assert answer["version"].startswith(self.version + ".")
        assert answer["error"] is None, f"TensorFlow {self.version}: {answer['error']}"
        with np.load(files["outputs"]) as file:
            return [file[f"y{i}"] for i in range(len(fetches))]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


@pytest.fixture(scope="session", params=READERS)
def reader(
    request: pytest.FixtureRequest, old_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reader]:
    """Each old TensorFlow in turn."""
    one = Reader(request.param, old_python(request.param), tmp_path_factory.mktemp("reader"))
    yield one
    one.close()
