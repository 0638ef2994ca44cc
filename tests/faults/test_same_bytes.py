"""Two runs on one machine write the same bytes, wherever, whenever and in whatever surroundings they run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import runs
from figures import Figures, Row
from prepared import Prepared

DAY = Path(__file__).parent / "otherday.c"
# One surroundings after the other: what a run must not take anything from.
PLAIN = {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
STRANGE = {
    **{"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "4711", "COLUMNS": "40", "LANG": "de_DE.UTF-8"},
    **{"USER": "somebody", "HOME": "/nonexistent", "DAYS_LATER": "2000"},
}


@pytest.fixture(scope="module")
def other_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that moves the clock by DAYS_LATER."""
    made = tmp_path_factory.mktemp("day") / "otherday.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(made), str(DAY), "-ldl"], check=True)
    return made


@pytest.fixture(scope="module", autouse=True)
def own_keras_json(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Somebody's settings of Keras, which would decide the types and the order of axes of every model."""
    home = tmp_path_factory.mktemp("keras")
    settings = {"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first", "backend": "tensorflow"}
    (home / "keras.json").write_text(json.dumps(settings))
    STRANGE["KERAS_HOME"] = str(home)


def run(yaml: Path, surroundings: dict[str, str], other_day: Path, umask: int, cwd: Path, *words: str) -> Path:
    """A run in an interpreter of its own; its workspace."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "TZ"))}
    env |= {"TMPDIR": str(cwd), **surroundings}
    if "DAYS_LATER" in surroundings:
        env["LD_PRELOAD"] = str(other_day)
    command = [sys.executable, "-m", "dnndk_prep", "run", str(yaml), *words]
    done = subprocess.run(command, env=env, umask=umask, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return yaml.parent / "workspace"


def same(row: Row, found: Path, wanted: Path, what: str) -> None:
    row.runs += 1
    names = runs.artifacts(found)
    row.cases += len(names)
    if wrong := runs.differing(names, runs.artifacts(wanted)):
        row.lose(f"{what}: {wrong}")


GOLDEN = Path(__file__).parents[1] / "quant" / "goldens" / "10_two_inputs"
GRAPH = """\
model: {path: float.pb}
dataset: {name: none}
calibration: {path: calib.npz, count: 4, batch_size: 2}
target: {toolchain: vitis-ai-2.5}
tensorboard: {prefix: net}
"""


def graph_home(folder: Path) -> Path:
    """A frozen graph of two inputs with its calibration data; the YAML."""
    folder.mkdir(parents=True)
    shutil.copyfile(GOLDEN / "float.pb", folder / "float.pb")
    with np.load(GOLDEN / "calib.npz") as stored:
        np.savez(folder / "calib.npz", rgb=stored["b0_in0"], depth=stored["b0_in1"])
    (folder / "pipeline.yaml").write_text(GRAPH)
    return folder / "pipeline.yaml"


def test_another_folder_time_and_surroundings(other_day: Path, figures: Figures, tmp_path: Path):
    """From a frozen graph to the report; run.lock.yaml is one of the files."""
    with figures("Same bytes", "a frozen graph, repeated in another folder with other surroundings") as row:
        first, other = graph_home(tmp_path / "a"), graph_home(tmp_path / "other folder é" / "b")
        wanted = run(first, PLAIN, other_day, 0o022, tmp_path)
        assert (wanted / "run.lock.yaml").is_file()
        assert (wanted / "report" / "report.json").is_file()
        same(row, run(other, STRANGE, other_day, 0o077, other.parent), wanted, "other surroundings")


EVERYTHING = runs.YAML + "saved_model: {name: net}\ntensorboard: {prefix: net}\nquantize: {mode: best}\n"


@pytest.mark.faults
def test_every_kind_of_output(other_day: Path, figures: Figures, tmp_path: Path):
    """SavedModel, TensorBoard and the best int8 among them; also of a given model, and forced a second time."""
    with figures("Same bytes", "all outputs: elsewhere on another day, forced again, of a given model") as row:
        first, other = (runs.write_home(tmp_path / name, EVERYTHING) for name in ("a", "other folder é"))
        wanted = run(first, PLAIN, other_day, 0o022, tmp_path)
        same(row, run(other, STRANGE, other_day, 0o077, other.parent), wanted, "other surroundings")
        again = run(other, PLAIN, other_day, 0o022, tmp_path, "--from", "keras_2_tf", "--force")
        same(row, again, wanted, "forced")
        found = []
        for name, surroundings in (("c", PLAIN), ("d é", STRANGE)):
            yaml = runs.write_home(tmp_path / name, "model: {path: net.keras}\n" + EVERYTHING)
            shutil.copyfile(wanted / "train_save" / "model.keras", yaml.parent / "net.keras")
            found.append(run(yaml, surroundings, other_day, 0o022, yaml.parent))
        same(row, found[1], found[0], "a given model")
        row.fact("files in one run", len(runs.artifacts(wanted)))


@pytest.mark.faults
def test_a_seed_decides_the_training(crew: tuple[Prepared, Prepared], figures: Figures, tmp_path: Path):
    weights = "train_save/k_model_weights.h5"
    with figures("Same bytes", "training: the same seed the same bytes, another seed others") as row:
        found = {}
        for seed in (0, 1, 0, 1):
            for prepared in crew:
                yaml = runs.write_home(tmp_path / f"{len(list(tmp_path.iterdir()))}", f"seed: {seed}\n" + runs.YAML)
                workspace = yaml.parent / "workspace"
                done = prepared.run(["run", str(yaml), "--to", "train_save"], workspace)
                row.runs += 1
                assert done.code == 0, done.err
                row.cases += 1
                if runs.differing(runs.artifacts(workspace), found.setdefault(seed, runs.artifacts(workspace))):
                    row.lose(f"seed {seed} repeats otherwise")
        if found[0][weights] == found[1][weights]:
            row.lose("two seeds give one training")
