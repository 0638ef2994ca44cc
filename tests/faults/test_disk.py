"""Disks that are full, faulty, read-only or gone: one clear error, the old artifacts whole, a rerun that recovers."""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import runs
from figures import Figures, Row
from prepared import COUNT, FAIL_FROM, FAIL_ONCE, Ended, Fault, Prepared

# What the user is told: the workspace or the command (2), an input file (3), a stage's files (4).
CODES = (2, 3, 4)
NUMBERS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EROFS": errno.EROFS}


def unclear(done: Ended, words: str = "") -> str | None:
    """What is wrong with the message of a run that failed: an exit code, a traceback, more than one error, no cause."""
    if done.code not in CODES or "Traceback" in done.err:
        return f"exit code {done.code}: {done.err[-600:]}"
    if len(re.findall("^error: ", done.err, re.MULTILINE)) != 1:
        return f"not one error: {done.err[-600:]}"
    return None if words in done.err else f"no {words!r} in: {done.err[-600:]}"


def failed_well(row: Row, done: Ended, before: dict[str, str], workspace: Path, what: str, words: str = "") -> None:
    """A fault that does not stop a run leaves the right bytes; one that does is told, and nothing that was there goes.

    before: what was there, of stages that the run had no reason to make again.
    """
    row.faults += 1
    if done.code != 0 and (told := unclear(done, words)):
        row.lose(f"{what}: {told}")
    found = runs.artifacts(workspace)
    gone = [name for name, sha256 in before.items() if found.get(name) != sha256]
    half = runs.broken(workspace)
    if half or gone:
        row.lose(f"{what}: half {half}, gone {gone[:3]}, exit code {done.code}")


def recovers(row: Row, prepared: Prepared, yaml: Path, wanted: dict[str, str], what: str) -> None:
    """The same command on a disk that works."""
    row.runs += 1
    workspace = yaml.parent / "workspace"
    done = prepared.run(["run", str(yaml)], workspace)
    wrong = runs.differing(runs.artifacts(workspace), wanted) if done.code == 0 else [done.err[-500:]]
    if wrong or runs.leftovers(workspace):
        row.lose(f"{what}: the rerun {wrong[:3]}, left over {runs.leftovers(workspace)}")


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.faults)])
def test_each_call_of_files_fails(quick: Prepared, figures: Figures, tmp_path: Path, step: int):
    yaml, workspace = tmp_path / "pipeline.yaml", tmp_path / "workspace"
    yaml.write_text("")
    assert quick.run(["run", str(yaml)], workspace).code == 0
    wanted = runs.artifacts(workspace)
    saved = Path(shutil.copytree(workspace, tmp_path / "saved"))
    with figures("Disk", "each call of files of three small stages fails, once or from there on") as row:
        for reads in (False, True):
            quick.run(["run", str(yaml), "--force"], workspace, Fault(COUNT, reads=reads))
            calls = [line.split(" ", 1)[1] for line in quick.journal()]
            assert len(calls) > 30
            for number in range(1, len(calls) + 1, step):
                name, error = list(NUMBERS.items())[number % 3]
                fault = Fault((FAIL_ONCE, FAIL_FROM)[number % 2], number, error, reads)
                shutil.rmtree(workspace)
                shutil.copytree(saved, workspace)
                done = quick.run(["run", str(yaml), "--force"], workspace, fault)
                row.runs += 1
                what = f"{calls[number - 1]}: {name}, {fault}"
                # Made again with the same bytes, or still there.
                failed_well(row, done, wanted, workspace, what)
                recovers(row, quick, yaml, wanted, what)


@pytest.mark.faults
def test_calls_of_each_stage_fail(crew: tuple[Prepared, Prepared], undisturbed: Path, figures: Figures, tmp_path: Path):
    wanted = runs.artifacts(undisturbed / "workspace")
    with figures("Disk", "calls of files of each stage fail with EIO, ENOSPC or EROFS, once or from there on") as row:
        for stage in runs.NAMES:
            for reads in (False, True):
                home = Path(shutil.copytree(undisturbed, tmp_path / f"{stage}{reads}"))
                yaml, workspace = home / "pipeline.yaml", home / "workspace"
                words = ["run", str(yaml), "--only", stage, "--force"]
                assert crew[0].run(words, workspace, Fault(COUNT, reads=reads)).code == 0
                calls = crew[0].journal()
                count = 8
                for turn in range(count):
                    number = 1 + (2 * turn + 1) * len(calls) // (2 * count)
                    fault = Fault((FAIL_ONCE, FAIL_FROM)[turn % 2], number, list(NUMBERS.values())[turn % 3], reads)
                    done = crew[0].run(words, workspace, fault)
                    row.runs += 1
                    what = f"{stage}, {calls[number - 1]}: {fault}"
                    failed_well(row, done, {}, workspace, what)
                recovers(row, crew[0], yaml, wanted, what)
                shutil.rmtree(home)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[..., None]]:
    """A disk of that size at `folder`, and what remounts it; the test is skipped where nobody may mount."""
    folder.mkdir()

    def mount(*options: str) -> None:
        words = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "none", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")

    mount()
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.faults
def test_a_disk_that_is_full_in_each_stage(
    crew: tuple[Prepared, Prepared], undisturbed: Path, figures: Figures, tmp_path: Path
):
    wanted = runs.artifacts(undisturbed / "workspace")
    with figures("Disk", "a small disk that is full in each stage") as row, small_disk(tmp_path / "disk", "24m"):
        for stage in runs.NAMES:
            for part in (0.0, 0.5):
                home = Path(shutil.copytree(undisturbed, tmp_path / "disk" / "home"))
                yaml, workspace = home / "pipeline.yaml", home / "workspace"
                size = sum(path.stat().st_size for path in (workspace / stage).rglob("*") if path.is_file())
                shutil.rmtree(workspace / stage)
                before = {
                    name: sha256
                    for name, sha256 in runs.artifacts(workspace).items()
                    if not name.startswith("report/") and name != "run.lock.yaml"
                }
                filler = tmp_path / "disk" / "filler"
                free = shutil.disk_usage(home).free - int(size * part) - 8192
                with filler.open("wb") as file:
                    file.write(bytes(free))
                done = crew[0].run(["run", str(yaml)], workspace)
                row.runs += 1
                failed_well(row, done, before, workspace, f"{stage}, room for {part}", "No space left on device")
                if done.code == 0:
                    row.lose(f"{stage}, room for {part}: it ended well")
                filler.unlink()
                recovers(row, crew[0], yaml, wanted, f"{stage}, room for {part}")
                shutil.rmtree(home)


@pytest.mark.faults
def test_a_read_only_disk(crew: tuple[Prepared, Prepared], undisturbed: Path, figures: Figures, tmp_path: Path):
    wanted = runs.artifacts(undisturbed / "workspace")
    with figures("Disk", "a disk that is read-only") as row, small_disk(tmp_path / "disk", "48m") as mount:
        home = Path(shutil.copytree(undisturbed, tmp_path / "disk" / "home"))
        yaml, workspace = home / "pipeline.yaml", home / "workspace"
        for words in (["run"], ["run", "--force"], ["run", "--only", "report", "--force"]):
            mount("remount", "ro")
            done = crew[0].run([*words, str(yaml)], workspace)
            row.runs += 1
            failed_well(row, done, wanted, workspace, " ".join(words), "Read-only file system")
            # What only reads needs no disk that can be written.
            for word in ("plan", "verify-lock"):
                if (told := crew[0].run([word, str(yaml)], workspace)).code != 0:
                    row.lose(f"{word} on a read-only disk: {told.err[-300:]}")
            mount("remount", "rw")
            recovers(row, crew[0], yaml, wanted, " ".join(words))


@pytest.mark.parametrize("times", [2, pytest.param(30, marks=pytest.mark.faults)])
def test_the_workspace_is_taken_away(quick: Prepared, figures: Figures, tmp_path: Path, times: int):
    """Moved or removed while a run is in it: that run ends with a clear error and writes nothing where it was."""
    yaml, workspace = tmp_path / "pipeline.yaml", tmp_path / "workspace"
    yaml.write_text("keras_2_tf: {unroll: true}\n")
    assert quick.run(["run", str(yaml)], workspace).code == 0
    wanted = runs.artifacts(workspace)
    with figures("Disk", "a workspace that is removed during a run") as row:
        for number in range(times):
            quick.start(["run", str(yaml), "--force"], workspace)
            time.sleep(0.4 + 0.8 * number / times)
            workspace.rename(tmp_path / "away") if number % 2 else shutil.rmtree(workspace, ignore_errors=True)
            done = quick.end()
            row.runs += 1
            row.faults += 1
            if told := unclear(done):
                row.lose(told)
            if number % 2:
                if half := runs.broken(tmp_path / "away"):
                    row.lose(f"half {half} in what was moved away")
                shutil.rmtree(tmp_path / "away")
            if workspace.exists() and any((workspace / name).exists() for name in runs.NAMES):
                row.lose(f"written where the workspace was: {sorted(map(str, workspace.iterdir()))}")
            recovers(row, quick, yaml, wanted, f"turn {number}")


@pytest.mark.faults
def test_the_folder_vanishes_in_real_stages(
    crew: tuple[Prepared, Prepared], undisturbed: Path, figures: Figures, tmp_path: Path
):
    wanted = runs.artifacts(undisturbed / "workspace")
    with figures("Disk", "a workspace that is removed while each stage works") as row:
        for stage in runs.NAMES:
            home = Path(shutil.copytree(undisturbed, tmp_path / stage))
            yaml, workspace = home / "pipeline.yaml", home / "workspace"

            def vanish(workspace: Path = workspace, stage: str = stage) -> None:
                """As soon as the stage has its folder."""
                until = time.monotonic() + 60
                while time.monotonic() < until and not list(workspace.glob(f".new-*/{stage}")):
                    time.sleep(0.001)
                workspace.rename(workspace.with_name("away"))

            watch = threading.Thread(target=vanish)
            crew[0].start(["run", str(yaml), "--only", stage, "--force"], workspace)
            watch.start()
            done = crew[0].end()
            watch.join()
            row.runs += 1
            row.faults += 1
            if told := unclear(done):
                row.lose(f"{stage}: {told}")
            if half := runs.broken(home / "away"):
                row.lose(f"{stage}: half {half}")
            shutil.rmtree(workspace, ignore_errors=True)
            (home / "away").rename(workspace)
            recovers(row, crew[0], yaml, wanted, stage)
