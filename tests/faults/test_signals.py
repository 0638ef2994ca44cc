"""Ctrl-C and SIGTERM end a run within five seconds, whatever it does, with the command that goes on."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import runs
from figures import Figures, Row
from prepared import Prepared

LIMIT = 5.0
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
# A call of C that never comes back: a lock that is taken already.
BUSY = """
import ctypes, sys
from dnndk_prep import cli, stage_list
def stage(ctx):
    print("busy", flush=True)
    mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    while libc.pthread_mutex_lock(mutex) == 0:
        pass
stage_list.Stage.run = lambda self: stage
sys.argv[1:] = ["run"]
cli.entry()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, *(pytest.param(one, marks=pytest.mark.faults) for one in CODES)])
def test_a_library_that_does_not_come_back(tmp_path: Path, number: signal.Signals, figures: Figures):
    (tmp_path / "pipeline.yaml").write_text("")
    with figures("Signals", f"{number.name} while a library does not come back") as row:
        process = subprocess.Popen(
            [sys.executable, "-c", BUSY], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert any("busy" in line for line in process.stdout)
        time.sleep(0.2)
        process.send_signal(number)
        began = time.monotonic()
        _, err = process.communicate(timeout=60)
        seconds = time.monotonic() - began
        row.runs, row.faults = 1, 1
        if process.returncode != CODES[number] or seconds > LIMIT:
            row.lose(f"exit code {process.returncode} after {seconds:.1f} s")
        if f"train_save interrupted; go on with:\n  {sys.executable} -m dnndk_prep run pipeline.yaml\nlog: " not in err:
            row.lose(err)


@pytest.mark.faults
@pytest.mark.parametrize("number", CODES)
def test_signals_at_random_moments(
    crew: tuple[Prepared, Prepared], undisturbed: Path, figures: Figures, tmp_path: Path, number: signal.Signals
):
    """Six times over, then left alone: the bytes are those of an undisturbed run."""
    wanted = runs.artifacts(undisturbed / "workspace")
    slowest = [0.0]

    def chain(row: Row, turn: int, prepared: Prepared) -> None:
        moment = random.Random(turn)
        yaml = runs.write_home(tmp_path / str(turn))
        workspace = yaml.parent / "workspace"
        more: list[str] = []
        for _ in range(6):
            prepared.start(["run", str(yaml), *more], workspace)
            wait = moment.uniform(0.3, 6)
            done = prepared.end(kill_after=wait, number=number)
            row.runs += 1
            # One that ended before its time leaves nothing to be stopped in.
            more = ["--force"] if done.code == 0 else []
            if done.code == 0:
                continue
            row.faults += 1
            slowest[0] = max(slowest[0], done.seconds - wait)
            if done.code != CODES[number] or done.seconds - wait > LIMIT or "interrupted; go on with:" not in done.err:
                row.lose(f"after {wait:.1f} s: {done.code}, {done.seconds - wait:.1f} s, {done.err[-400:]}")
            if half := runs.broken(workspace):
                row.lose(f"half {half}")
        done = prepared.run(["run", str(yaml)], workspace)
        row.runs += 1
        if done.code != 0 or runs.differing(runs.artifacts(workspace), wanted) or runs.leftovers(workspace):
            row.lose(f"turn {turn}: {done.err[-300:]} {runs.differing(runs.artifacts(workspace), wanted)[:3]}")

    def chains(row: Row, first: int) -> None:
        """One interpreter, one run at a time."""
        for turn in range(first, 8, 2):
            chain(row, turn, crew[first])

    with figures("Signals", f"{number.name} at random moments of a whole run, six times over") as row:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda first: chains(row, first), range(2)))
        row.fact("slowest end", f"{slowest[0]:.1f} s")
        assert row.faults >= 24, row
