"""What the tests of this folder share: figures, a file layer with faults, prepared interpreters, an undisturbed run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import runs
from figures import Figures, counting
from prepared import Prepared, library


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """`with figures(part, what) as row:`, see figures.py."""
    return counting(request.path.stem.removeprefix("test_"), request.node.get_closest_marker("faults") is not None)


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file layer of faulty.c."""
    made = library(tmp_path_factory.mktemp("faulty"))
    if made is None:
        pytest.skip("there is no C compiler (cc)")
    return made


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory, faulty: Path) -> Iterator[Prepared]:
    """Runs of three small stages, without TensorFlow."""
    with Prepared(tmp_path_factory.mktemp("quick"), faulty, "three_stages") as prepared:
        yield prepared


@pytest.fixture(scope="session")
def crew(tmp_path_factory: pytest.TempPathFactory, faulty: Path) -> Iterator[tuple[Prepared, Prepared]]:
    """Two interpreters for whole pipelines, for two cores."""
    folder = tmp_path_factory.mktemp("crew")
    with Prepared(folder / "0", faulty) as one, Prepared(folder / "1", faulty) as other:
        yield one, other


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, crew: tuple[Prepared, Prepared]) -> Path:
    """A folder in which a whole pipeline has run; its workspace is for reading."""
    yaml = runs.write_home(tmp_path_factory.mktemp("undisturbed"))
    done = crew[0].run(["run", str(yaml)], yaml.parent / "workspace")
    assert done.code == 0, done.err
    return yaml.parent
