"""Two runs on one workspace: the second refuses by name, a dead one's lock is nobody's, and nothing is ever mixed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import runs
from figures import Figures
from prepared import Prepared

REFUSED = "another run holds this workspace"
SLOW = "seed: {}\nkeras_2_tf: {{unroll: true}}\n"


@pytest.fixture
def rival(tmp_path_factory: pytest.TempPathFactory, faulty: Path):
    """A second interpreter of small stages."""
    with Prepared(tmp_path_factory.mktemp("rival"), faulty, "three_stages") as prepared:
        yield prepared


@pytest.mark.parametrize("times", [3, pytest.param(60, marks=pytest.mark.faults)])
def test_two_runs_and_readers(quick: Prepared, rival: Prepared, figures: Figures, tmp_path: Path, times: int):
    """Two configurations on one workspace at once: one of them makes all of it, the other is refused."""
    workspace, moment = tmp_path / "workspace", random.Random(0)
    yamls = [tmp_path / f"{seed}.yaml" for seed in (1, 2)]
    wanted = []
    for seed, yaml in enumerate(yamls, 1):
        yaml.write_text(SLOW.format(seed))
        assert quick.run(["run", str(yaml)], workspace).code == 0
        wanted.append(runs.artifacts(workspace))
        shutil.rmtree(workspace)
    with figures("Two at once", "two runs with different settings, while others plan and verify") as row:
        for number in range(times):
            first = number % 2
            pid = quick.start(["run", str(yamls[first]), "--force"], workspace)
            time.sleep(moment.uniform(0, 0.8) if number else 1.0)
            word = ("run", "plan", "verify-lock")[number % 3]
            second = rival.run([word, str(yamls[1 - first])], workspace)
            done = quick.end()
            row.runs += 2
            row.cases += 1
            codes = (done.code, second.code)
            refused = f"process {pid}"
            if "Traceback" in done.err + second.err:
                row.lose(f"{word}: {done.err[-300:]} {second.err[-300:]}")
            elif word == "run":
                # Who came first is not known where both began at once; one of them holds it, by name.
                row.faults += 2 in codes
                if codes not in ((0, 2), (2, 0)) or not any(REFUSED in one.err for one in (done, second)):
                    row.lose(f"both ran: {codes} {second.err[-300:]}")
                if done.code == 0 and refused not in second.err:
                    row.lose(f"not by name: {second.err[-300:]}")
            elif done.code != 0 or second.code not in (0, 2, 4):
                row.lose(f"{word}: {codes} {done.err[-300:]} {second.err[-300:]}")
            made = first if done.code == 0 else 1 - first
            if wrong := runs.differing(runs.artifacts(workspace), wanted[made]):
                row.lose(f"{word}, turn {number}: mixed {wrong[:3]}")


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.faults)])
def test_the_lock_of_a_dead_process(quick: Prepared, rival: Prepared, figures: Figures, tmp_path: Path, times: int):
    yaml, workspace = tmp_path / "pipeline.yaml", tmp_path / "workspace"
    yaml.write_text(SLOW.format(1))
    with figures("Two at once", "the lock of a killed run is taken over at once") as row:
        for number in range(times):
            pid = quick.start(["run", str(yaml), "--force"], workspace)
            until = time.monotonic() + 60
            while not list(workspace.glob(".new-*/keras_2_tf")) and time.monotonic() < until:
                time.sleep(0.01)
            held = rival.run(["run", str(yaml)], workspace)
            os.kill(pid, signal.SIGKILL)
            quick.end()
            left = (workspace / ".lock").read_text()
            taken = rival.run(["run", str(yaml)], workspace)
            row.runs += 3
            row.faults += 1
            if (held.code, taken.code, left) != (2, 0, str(pid)) or f"process {pid}" not in held.err:
                row.lose(f"turn {number}: {held.err[-300:]} {taken.err[-300:]}")
            if (workspace / ".lock").read_text():
                row.lose("a run that has ended still names itself in the lock")


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.faults)])
def test_the_lock_is_taken_away(quick: Prepared, rival: Prepared, figures: Figures, tmp_path: Path, times: int):
    """Somebody removes the lock file, or the whole workspace, of a run, and begins another: the first one gives up."""
    workspace = tmp_path / "workspace"
    yamls = [tmp_path / f"{seed}.yaml" for seed in (1, 2)]
    for seed, yaml in enumerate(yamls, 1):
        yaml.write_text(SLOW.format(seed))
    assert quick.run(["run", str(yamls[1])], workspace).code == 0
    wanted = runs.artifacts(workspace)
    with figures("Two at once", "a lock or workspace that is removed under a run, and a second run") as row:
        for number in range(times):
            quick.start(["run", str(yamls[0]), "--force"], workspace)
            until = time.monotonic() + 60
            while not list(workspace.glob(".new-*/keras_2_tf")) and time.monotonic() < until:
                time.sleep(0.01)
            (workspace / ".lock").unlink() if number % 2 == 0 else shutil.rmtree(workspace)
            second = rival.run(["run", str(yamls[1])], workspace)
            first = quick.end()
            row.runs += 2
            row.faults += 1
            if second.code != 0 or first.code != 4 or "removed or replaced" not in first.err + second.err:
                row.lose(f"turn {number}: {first.code} {first.err[-300:]}, {second.code} {second.err[-300:]}")
            if wrong := runs.differing(runs.artifacts(workspace), wanted):
                row.lose(f"turn {number}: mixed {wrong[:3]}")


@pytest.mark.faults
def test_two_whole_pipelines(crew: tuple[Prepared, Prepared], undisturbed: Path, figures: Figures, tmp_path: Path):
    wanted = runs.artifacts(undisturbed / "workspace")
    with figures("Two at once", "two whole pipelines begun at the same moment") as row:
        for number in range(3):
            yaml = runs.write_home(tmp_path / str(number))
            workspace = yaml.parent / "workspace"
            with ThreadPoolExecutor(2) as pool:
                done = list(pool.map(lambda one: one.run(["run", str(yaml)], workspace), crew))  # noqa: B023
            row.runs += 2
            row.faults += 1
            if sorted(one.code for one in done) != [0, 2] or not any(REFUSED in one.err for one in done):
                row.lose(f"{[(one.code, one.err[-300:]) for one in done]}")
            if wrong := runs.differing(runs.artifacts(workspace), wanted):
                row.lose(f"mixed {wrong[:3]}")
