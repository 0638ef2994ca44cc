"""What counts as a stage's code."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dnndk_prep import code_version as module
from dnndk_prep.code_version import code_version, imported_by
from dnndk_prep.stage_list import NAMES


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, whose versions are counted from the files as they are."""
    folder = tmp_path / "dnndk_prep"
    shutil.copytree(Path(module.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "_PACKAGE", folder)
    return folder


def versions() -> dict[str, str]:
    for cached in (module._imports, module._data_files, module._hash):
        cached.cache_clear()
    return {name: code_version(f"dnndk_prep.stages.{name}") for name in NAMES}


@pytest.fixture(autouse=True)
def _fresh():
    versions()
    yield
    versions()


def changed(before: dict[str, str]) -> set[str]:
    now = versions()
    return {name for name in NAMES if now[name] != before[name]}


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("stages/report.py", {"report"}),
        ("templates/report.md.j2", {"export", "report"}),
        ("graph/registry/tensorflow-1.9.json", {"freeze_graph", "optimize_for_inference", "export"}),
        ("graph/rewrites/prune.py", {"optimize_for_inference"}),
        ("data/templates/input_fn.py.j2", None),
        ("errors.py", set(NAMES)),
        ("cli.py", set()),
    ],
)
def test_a_stage_changes_with_what_it_imports(copy: Path, file: str, stages: set[str] | None):
    before = versions()
    path = copy / file
    path.write_text(path.read_text() + "\n")
    if stages is None:
        assert "calib_input" in changed(before)
    else:
        assert changed(before) >= stages
        assert "train_save" in stages or "train_save" not in changed(before)
    path.write_text(path.read_text()[:-1])
    assert changed(before) == set()


def test_it_does_not_depend_on_where_the_package_lies(copy: Path):
    here = versions()
    shutil.move(copy, copy.parent / "moved")
    module._PACKAGE = copy.parent / "moved"
    assert versions() == here


# The libraries once for all stages: a process of its own for each would take most of its time to import TensorFlow.
EACH_STAGE = """
import os, sys, keras, tensorflow, tf_keras
for stage in sys.argv[1:]:
    if os.fork() == 0:
        __import__(f"dnndk_prep.stages.{stage}")
        print(stage, *(name for name in sys.modules if name.startswith("dnndk_prep")), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """The package's modules that an interpreter has after it imported a stage."""
    done = subprocess.run([sys.executable, "-c", EACH_STAGE, *NAMES], capture_output=True, text=True, check=True)
    return {stage: set(modules) for stage, *modules in (line.split() for line in done.stdout.splitlines())}


@pytest.mark.parametrize("stage", NAMES)
def test_it_finds_what_python_imports(stage: str, loaded: dict[str, set[str]]):
    """The same modules as the interpreter loads (and those that functions import later)."""
    assert len(loaded[stage]) > 5
    assert loaded[stage] <= imported_by(f"dnndk_prep.stages.{stage}")
