"""Sweeps whose workers are killed, or which are killed themselves: every cell ends as in an undisturbed sweep."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import runs
from figures import Figures

SWEEP = "models: {a: {}, b: {seed: 7}}\ntargets: {z: {board: zcu104}, k: {board: kv260}}\nworkers: 2\n"
CELLS = ("a/z/default", "a/k/default", "b/z/default", "b/k/default")


def write_sweep(folder: Path) -> Path:
    runs.write_home(folder)
    (folder / "sweep.yaml").write_text(SWEEP)
    return folder


def start(home: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "dnndk_prep", "sweep"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(words, cwd=home, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def workers(pid: int) -> list[int]:
    """The processes that a sweep has begun, as long as they run; proc(5)."""
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def cells(home: Path) -> dict[str, str]:
    """The hashes of all cells' artifacts; empty where the table says of one that it is not done."""
    with (home / "sweep" / "sweep.csv").open(newline="") as file:
        status = {f"{row['model']}/{row['target']}/{row['quantize']}": row["status"] for row in csv.DictReader(file)}
    if status != dict.fromkeys(CELLS, "done"):
        return {}
    found = {cell: runs.artifacts(home / "sweep" / "cells" / cell) for cell in CELLS}
    return {f"{cell}/{name}": sha256 for cell, files in found.items() for name, sha256 in files.items()}


@pytest.mark.faults
def test_killed_sweeps_and_workers(figures: Figures, tmp_path: Path):
    """A killed worker costs its task alone; a killed or interrupted sweep goes on when it is begun again."""
    home = write_sweep(tmp_path / "undisturbed")
    _, err = (process := start(home)).communicate()
    assert process.returncode == 0, err
    wanted, moment = cells(home), random.Random(0)
    assert len(wanted) > 100
    with figures("Scale-out", "sweeps of four cells: workers killed, sweeps killed, sweeps interrupted") as row:
        for turn in range(5):
            home = write_sweep(tmp_path / str(turn))
            for number in (signal.SIGKILL, signal.SIGINT):
                process = start(home)
                row.runs += 1
                time.sleep(moment.uniform(1, 15))
                row.faults += process.poll() is None
                process.send_signal(number)
                _, err = process.communicate(timeout=60)
                if process.returncode not in (0, -signal.SIGKILL, 130) or "Traceback" in err:
                    row.lose(f"turn {turn}, {number.name}: {process.returncode} {err[-500:]}")
            process = start(home)
            row.runs += 1
            time.sleep(moment.uniform(1, 15))
            for worker in workers(process.pid)[:1]:
                os.kill(worker, signal.SIGKILL)
                row.faults += 1
            _, err = process.communicate(timeout=300)
            if process.returncode != 0 or "Traceback" in err:
                row.lose(f"turn {turn}, a worker killed: {process.returncode} {err[-500:]}")
            if wrong := runs.differing(cells(home), wanted):
                row.lose(f"turn {turn}: {wrong[:5]}")
        assert row.faults >= 10, row
