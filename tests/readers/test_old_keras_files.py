"""Files that real Kerases of other years wrote, held against their own predictions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conversion import assert_within, frozen, optimized, outputs
from environments import without_tensorflow
from formats import WRITERS, Writer

from dnndk_prep.graph.artifact import serialize
from dnndk_prep.keras_io.load import KerasSource, read_architecture_weights, read_model
from dnndk_prep.keras_io.predict import Predictor

WORKER = Path(__file__).with_name("old_keras_models.py")
IDS = [f"{writer.flavour}-{writer.version}" for writer in WRITERS]


@dataclass
class Running:
    """A worker that is writing, and the folder it writes to."""

    process: subprocess.Popen
    folder: Path

    def finish(self) -> dict:
        out, _ = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, (self.folder / "log.txt").read_text()[-2000:]
        return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def workers(old_python: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    """All writers, started together: most of their time they import."""
    running: dict[Writer, Running] = {}
    for writer in WRITERS:
        folder = tmp_path_factory.mktemp("old")
        command = [old_python(writer.environment), "-W", "ignore", WORKER, writer.flavour, folder]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(folder / "log.txt").open("w"),
            env=without_tensorflow(),
            text=True,
        )
        running[writer] = Running(process, folder)
    yield running
    for one in running.values():
        one.process.kill()
        one.process.wait()


@pytest.fixture(scope="module", params=WRITERS, ids=IDS)
def written(request: pytest.FixtureRequest, workers: dict) -> tuple[Writer, Path]:
    """A writer, and the folder with all that it wrote."""
    writer = request.param
    told = workers[writer].finish()
    assert told["version"] == writer.version
    assert sorted(told["cases"]) == sorted(writer.cases)
    return writer, workers[writer].folder


def read(folder: Path, form: str) -> KerasSource:
    paths = [folder / name for name in form.split(" + ")]
    return read_model(paths[0]) if len(paths) == 1 else read_architecture_weights(paths[0], paths[1])


def arrays(path: Path) -> list[np.ndarray]:
    with np.load(path) as file:
        return [file[name] for name in file.files]


def test_every_file_gives_what_its_own_keras_predicted(written: tuple[Writer, Path]) -> None:
    writer, folder = written
    for case in writer.cases:
        feeds, wanted = arrays(folder / case / "in.npz"), arrays(folder / case / "out.npz")
        forms = [form for form in writer.forms if case in writer.cases_of(form)]
        graphs = {}
        for form in forms:
            source = read(folder / case, form)
            assert source.keras_version == writer.version
            graphs[form] = frozen(source)
        assert len({serialize(graph.graph_def) for graph in graphs.values()}) == 1, (case, forms)
        graph = optimized(graphs[forms[0]], feeds)
        assert_within(outputs(graph, feeds), wanted)


def test_predict_is_that_of_the_keras_that_wrote_it(written: tuple[Writer, Path]) -> None:
    writer, folder = written
    for case in set(writer.cases) & {"cnn", "words", "operations", "enlarged"}:
        feeds, wanted = arrays(folder / case / "in.npz"), arrays(folder / case / "out.npz")
        assert_within(Predictor(read(folder / case, "complete.h5")).predict(feeds), wanted)
