"""Sweeps as a user runs them: shared stages run once, failures stay in their cells, and kills cost one task."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

QUICK = Path(__file__).parent / "quick_stages"
STAGES = 9
BOARDS = "targets: {z: {board: zcu104}, k: {board: kv260}}\n"
SETTINGS = "quantize: {vendor: {}, plain: {method: 0}}\n"


class Home:
    """A folder with a sweep of quick stages."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder, self.log, self.python = folder, folder / "log", sys.executable
        (folder / "pipeline.yaml").write_text("seed: 3\n")
        (folder / "sweep.yaml").write_text(text)
        paths = [str(QUICK), str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "QUICK_LOG": str(self.log)}

    def start(self, *words: str, wait: str = "", command: list[str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command or [self.python, "-m", "dnndk_prep", "sweep", *words],
            cwd=self.folder,
            env={**self.environment, "QUICK_WAIT": wait},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, code: int = 0, wait: str = "", command: list[str] | None = None) -> tuple[str, str]:
        process = self.start(*words, wait=wait, command=command)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, out + err
        return out, err

    def stages(self) -> list[tuple[str, str, int, int]]:
        """What ran: stage, workspace, and the processes."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        found = [(name, re.search(r"cells/(\w+/\w+/\w+)", place), pid, parent) for name, place, pid, parent in lines]
        return [(name, place[1] if place else "", pid, parent) for name, place, pid, parent in found]

    def counts(self) -> Counter[str]:
        return Counter(f"{place} {name}" for name, place, _, _ in self.stages())

    def rows(self) -> dict[str, dict[str, str]]:
        with (self.folder / "sweep" / "sweep.csv").open(newline="") as file:
            return {f"{row['model']}/{row['target']}/{row['quantize']}": row for row in csv.DictReader(file)}

    def when(self, stage: str) -> tuple[int, int, str]:
        """The process of `stage`, its parent and its cell, as soon as it runs."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for name, where, pid, parent in self.stages():
                if name == stage:
                    return pid, parent, where
            time.sleep(0.05)
        raise AssertionError(f"{stage} did not begin")


@pytest.fixture
def home(tmp_path: Path) -> Callable[[str], Home]:
    return lambda text: Home(tmp_path, text)


def gone(pid: int) -> bool:
    try:
        # A process that has ended and was not waited for yet has no memory any more.
        return Path(f"/proc/{pid}/statm").read_text().split()[0] == "0"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_sweep_shares_fails_alone_and_goes_on(home: Callable[[str], Home]):
    sweep = home("models: {a: {}, broken: {model: {path: b.h5}}}\n" + BOARDS)
    (sweep.folder / "b.h5").write_bytes(b"no model")
    out, err = sweep.run("--workers", "2", code=4)
    assert "2 of 4 cells failed" in err
    assert "a/k/default: done in" in out
    counts = sweep.counts()
    assert set(counts.values()) == {1}
    ran = Counter(key.split()[1] for key in counts)
    assert (ran["train_save"], ran["calib_input"], ran["quantize"], ran["report"]) == (1, 1, 1, 2)
    rows = sweep.rows()
    assert rows["a/k/default"] | {"seconds_now": ""} == {
        "model": "a", "target": "k", "quantize": "default", "status": "done", "verdict": "ready", "measure": "top1",
        "accuracy_float": "0.9", "accuracy_int8": "0.875", "images": "10", "toolchain": "vitis-ai-2.5",
        "dpu_nodes": "7", "cpu_nodes": "1", "dpu_subgraphs": "1", "seconds": "0.8", "seconds_now": "",
        "stage": "", "code": "", "error": "", "report": "cells/a/k/default/report/report.html",
    }  # fmt: skip
    assert (sweep.folder / "sweep" / rows["a/k/default"]["report"]).read_text() == "the report"
    failed = rows["broken/z/default"]
    assert (failed["status"], failed["code"], failed["report"]) == ("failed", "K2D-0903", "")
    assert failed["error"]
    # What is done is done; what failed is tried again.
    out, _ = sweep.run("--workers", "2", code=4)
    assert out.count("nothing changed") == 2
    assert sweep.counts() == counts


def test_a_killed_process_is_begun_again_and_ctrl_c_goes_on(home: Callable[[str], Home]):
    sweep = home("models: {a: {}}\n" + BOARDS + "workers: 2\n")
    process = sweep.start(wait="keras_2_tf:30")
    first, parent, _ = sweep.when("keras_2_tf")
    assert parent == process.pid
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while sweep.counts()["a/z/default keras_2_tf"] < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - started < 5
    assert "0 of 2 cells ended; go on with:" in err
    command = shlex.split(err.split("go on with:")[1].strip().splitlines()[0])
    assert all(gone(pid) for _, _, pid, _ in sweep.stages())
    assert {row["status"] for row in sweep.rows().values()} == {"not run"}
    out, _ = sweep.run(command=command)
    assert sweep.counts()["a/z/default train_save"] == 1
    assert sweep.counts()["a/z/default keras_2_tf"] == 3
    assert out.count(": done in") == 2


def test_cells_end_with_a_sweep_that_is_killed(home: Callable[[str], Home]):
    sweep = home("models: {a: {}}\n")
    process = sweep.start(wait="quantize:30")
    cell, *_ = sweep.when("quantize")
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while not gone(cell) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone(cell)
    sweep.run()
    assert {key.split()[1]: count for key, count in sweep.counts().items() if count > 1} == {"quantize": 2}


def test_no_cell_is_written_where_a_link_leads(home: Callable[[str], Home], tmp_path: Path):
    sweep = home("models: {a: {}}\n")
    (tmp_path / "outside").mkdir()
    (sweep.folder / "sweep" / "cells").mkdir(parents=True)
    (sweep.folder / "sweep" / "cells" / "a").symlink_to(tmp_path / "outside")
    _, err = sweep.run(code=2)
    assert "is a link" in err
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.slow
def test_a_killed_worker_of_ray_costs_its_task_alone(home: Callable[[str], Home], old_python: Callable[[str], Path]):
    sweep = home("models: {a: {}, b: {seed: 5}}\n" + BOARDS + SETTINGS)
    sweep.python = str(old_python("ray"))
    process = sweep.start("--ray", "--workers", "2", wait="quantize:4")
    child, worker, place = sweep.when("quantize")
    assert worker != process.pid
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    assert out.count(": done in") == 8
    assert gone(child)
    counts = sweep.counts()
    assert {key: count for key, count in counts.items() if count > 1} == {f"{place} quantize": 2}
    ran = Counter(key.split()[1] for key in counts)
    assert (ran["train_save"], ran["quantize"], ran["report"]) == (2, 4, 8)
    assert {row["status"] for row in sweep.rows().values()} == {"done"}


@pytest.mark.slow
def test_cells_are_what_single_runs_are(tmp_path: Path):
    (tmp_path / "pipeline.yaml").write_text("train_save: {epochs: 1}\ncalibration: {count: 20}\n")
    (tmp_path / "sweep.yaml").write_text("targets: {z: {board: zcu104}, k: {board: kv260}}\n")
    python = [sys.executable, "-m", "dnndk_prep"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([*python, "sweep"], cwd=tmp_path, check=True, env=environment, stdout=subprocess.DEVNULL)
    threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
    words = [*python, "run", "--set", "target.board=kv260", "--workspace", "alone"]
    subprocess.run(words, cwd=tmp_path, check=True, env=environment | threads, stdout=subprocess.DEVNULL)
    cell, alone = tmp_path / "sweep" / "cells" / "default" / "k" / "default", tmp_path / "alone"
    timed = ("stage.json", "report.json", "report.md", "report.html")
    files = [path for path in sorted(alone.glob("*/**/*")) if path.is_file() and path.suffix != ".log"]
    compared = [path.relative_to(alone) for path in files if path.name not in timed]
    assert len(compared) > 30
    assert [str(path) for path in compared if (cell / path).read_bytes() != (alone / path).read_bytes()] == []
