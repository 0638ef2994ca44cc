"""SIGKILL at any moment, then a plain rerun: it ends well, and its artifacts are those of an undisturbed run."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pytest
import runs
from figures import Figures, Row
from prepared import COUNT, KILL_AFTER, KILL_BEFORE, KILL_INSIDE, Fault, Prepared

KILLS = (KILL_BEFORE, KILL_INSIDE, KILL_AFTER)


def rerun_is_whole(row: Row, prepared: Prepared, yaml: Path, wanted: dict[str, str], what: str) -> None:
    """What a kill left is whole stages alone; a plain rerun then ends well with the bytes of an undisturbed run."""
    workspace = yaml.parent / "workspace"
    half = runs.broken(workspace)
    done = prepared.run(["run", str(yaml)], workspace)
    row.runs += 1
    wrong = runs.differing(runs.artifacts(workspace), wanted) if done.code == 0 else [done.err[-500:]]
    rest = runs.leftovers(workspace) if done.code == 0 else []
    if half or wrong or rest:
        row.lose(f"{what}: half {half}, wrong {wrong[:3]}, left over {rest}")


def killed(row: Row, prepared: Prepared, words: list[str], workspace: Path, fault: Fault) -> bool:
    """A run that the file layer kills; whether it came to that."""
    row.runs += 1
    met = prepared.run(words, workspace, fault).code == -signal.SIGKILL
    row.faults += met
    return met


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.faults)])
def test_killed_at_every_call_of_files(quick: Prepared, figures: Figures, tmp_path: Path, step: int):
    yaml = tmp_path / "pipeline.yaml"
    yaml.write_text("")
    workspace = tmp_path / "workspace"
    assert quick.run(["run", str(yaml)], workspace).code == 0
    wanted = runs.artifacts(workspace)
    with figures("Kill", "at every call of files of three small stages") as row:
        for force in (False, True):
            words = ["run", str(yaml), *["--force"] * force]
            saved = tmp_path / "saved"
            shutil.copytree(workspace, saved) if force else saved.mkdir()
            shutil.rmtree(workspace)
            shutil.copytree(saved, workspace)
            quick.run(words, workspace, Fault(COUNT))
            count = len(quick.journal())
            assert count > 80
            for number in range(1, count + 1, step):
                mode = KILLS[number % 3]
                shutil.rmtree(workspace)
                shutil.copytree(saved, workspace)
                if killed(row, quick, words, workspace, Fault(mode, number)):
                    rerun_is_whole(row, quick, yaml, wanted, f"call {number}, mode {mode}, force {force}")
            shutil.rmtree(saved)
        assert row.faults > 150 // step


def moments(journal: list[str], count: int) -> Iterator[Fault]:
    """Before and after each rename, and `count` calls more, spread over all others."""
    calls = [line.split(" ", 2)[:2] for line in journal]
    renames = [int(number) for number, name in calls if name == "rename"]
    for number in renames:
        yield Fault(KILL_BEFORE, number)
        yield Fault(KILL_AFTER, number)
    others = [int(number) for number, name in calls if name != "rename"]
    for i in range(count):
        yield Fault(KILLS[i % 3], others[i * len(others) // count])


@pytest.mark.faults
def test_killed_in_each_stage(crew: tuple[Prepared, Prepared], undisturbed: Path, figures: Figures, tmp_path: Path):
    """Each stage begins in a copy of a finished workspace, where it is the first time of that stage, or one more."""
    wanted = runs.artifacts(undisturbed / "workspace")
    free: SimpleQueue[Prepared] = SimpleQueue()
    for prepared in crew:
        free.put(prepared)

    def one(row: Row, stage: str, again: bool, fault: Fault, number: int) -> None:
        prepared = free.get()
        try:
            home = tmp_path / f"{stage}{number}{again}"
            shutil.copytree(undisturbed, home)
            yaml, workspace = home / "pipeline.yaml", home / "workspace"
            words = ["run", str(yaml), "--only", stage, "--force"] if again else ["run", str(yaml)]
            if not again:
                shutil.rmtree(workspace / stage)
            if killed(row, prepared, words, workspace, fault):
                rerun_is_whole(row, prepared, yaml, wanted, f"{stage}, {fault}, again {again}")
            shutil.rmtree(home)
        finally:
            free.put(prepared)

    with figures("Kill", "in each stage, at its renames and spread over its other calls of files") as row:
        for stage in runs.NAMES:
            jobs = []
            for again in (False, True):
                home = tmp_path / "counted"
                shutil.copytree(undisturbed, home)
                yaml, workspace = home / "pipeline.yaml", home / "workspace"
                words = ["run", str(yaml), "--only", stage, "--force"] if again else ["run", str(yaml)]
                if not again:
                    shutil.rmtree(workspace / stage)
                assert crew[0].run(words, workspace, Fault(COUNT)).code == 0
                found = list(moments(crew[0].journal(), 4))
                # Those of the report, which runs behind each stage, are its own.
                jobs += [(stage, again, fault, number) for number, fault in enumerate(found[:4] + found[-4:])]
                shutil.rmtree(home)
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda job: one(row, *job), jobs))
        assert row.faults >= 130, row


@pytest.mark.faults
def test_killed_at_random_moments(crew: tuple[Prepared, Prepared], undisturbed: Path, figures: Figures, tmp_path: Path):
    """From an empty workspace: killed, begun again and killed again, five times; then left alone."""
    wanted = runs.artifacts(undisturbed / "workspace")

    def chain(row: Row, number: int) -> None:
        prepared, moment = crew[number % 2], random.Random(number)
        for turn in range(number, 48, 2):
            home = tmp_path / str(turn)
            yaml, workspace = runs.write_home(home), home / "workspace"
            more: list[str] = []
            for _ in range(5):
                prepared.start(["run", str(yaml), *more], workspace)
                row.runs += 1
                done = prepared.end(kill_after=moment.uniform(0.1, 6))
                row.faults += done.code == -signal.SIGKILL
                # One that ended before its time leaves nothing to be killed in.
                more = ["--force"] if done.code == 0 else []
                if half := runs.broken(workspace):
                    row.lose(f"chain {turn}: half {half}")
            rerun_is_whole(row, prepared, yaml, wanted, f"chain {turn}")
            shutil.rmtree(home)

    with figures("Kill", "at random moments of a whole run, five times over") as row:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda number: chain(row, number), range(2)))
        assert row.faults >= 150, row
