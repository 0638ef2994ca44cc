"""Broken files of every kind: each ends in a clear error or is read, and never in a traceback, a hang or a crash."""

from __future__ import annotations

import json
import os
import queue
import random
import select
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest
from broken_files import MAKE, Originals
from figures import Figures

# Of a processor for one file, imports and all; of the clock, on a machine that does much else.
SECONDS, PATIENCE = 30, 300
# Of a hundred cases.
SHARES = {
    **{"hdf5": 20, "hdf5_json": 16, "archive": 6, "archive_json": 6, "archive_hdf5": 4, "json": 13, "yaml": 14},
    **{"graph": 9, "graph_text": 4, "checkpoint": 3, "image": 3, "arrays": 2},
}
assert sum(SHARES.values()) == 100


class Worker:
    """A process that reads files; one that hangs or crashes is noticed, and replaced."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("reads.py"))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, kind: str, paths: list[Path]) -> dict[str, str]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([kind, [str(path) for path in paths]]) + "\n")
        stdin.flush()
        self._wait(stdout)
        line = stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self.__init__()  # type: ignore[misc]
        return {"traceback": "no answer" if code == -9 else f"the process ended with {code}"}

    def _wait(self, answer: IO[str]) -> None:
        """Until there is an answer; a process that computes on and on, or does nothing at all, is ended."""
        before = _seconds_of(self._process.pid)
        for _ in range(PATIENCE):
            if select.select([answer], [], [], 1)[0]:
                return
            if _seconds_of(self._process.pid) - before > SECONDS:
                break
        self._process.kill()

    def stop(self) -> None:
        self._process.communicate()


def _seconds_of(pid: int) -> float:
    """What the process has computed so far; proc(5): fields 14 and 15, counted behind the name in brackets."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Originals:
    return Originals(tmp_path_factory.mktemp("originals"))


@pytest.mark.parametrize("hundreds", [4, pytest.param(100, marks=pytest.mark.faults)])
def test_broken_files_end_in_clear_errors_only(tmp_path: Path, originals: Originals, figures: Figures, hundreds: int):
    jobs: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
    for kind, share in SHARES.items():
        for number in range(hundreds * share):
            jobs.put((kind, number))
    for _ in range(2):
        jobs.put(None)
    answers: Counter[tuple[str, str]] = Counter()

    with figures("Inputs", "broken h5, .keras, JSON, YAML, graphs, checkpoints, images and arrays") as row:

        def work(here: Path) -> None:
            here.mkdir()
            worker = Worker()
            try:
                for kind, number in iter(jobs.get, None):
                    what, paths = MAKE[kind](here, originals, random.Random(f"{kind} {number}"))
                    answer = worker.ask(what, paths)
                    row.cases += 1
                    answers[kind, answer.get("error", "read" if "read" in answer else "failed")] += 1
                    if "traceback" in answer:
                        row.lose(f"{kind} {number}: {answer['traceback']}")
                    elif "Traceback" in answer.get("text", ""):
                        row.lose(f"{kind} {number} tells of a traceback: {answer['text']}")
            finally:
                worker.stop()

        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(work, tmp_path / str(number)) for number in range(2)]:
                done.result()
        refused = {
            kind: sum(n for (one, said), n in answers.items() if one == kind and said != "read") for kind in SHARES
        }
        row.fact("refused, the others were read all the same", f"{sum(refused.values()):,}")
        assert row.cases == 100 * hundreds
    # Some files are whole all the same, most are not; none that is never read or always would test much.
    for kind, share in SHARES.items():
        assert refused[kind] > hundreds * share / 10, answers
