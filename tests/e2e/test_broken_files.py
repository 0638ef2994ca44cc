"""Thousands of broken files: each ends in a clear error or is read, and never in a traceback, a hang or a crash."""

from __future__ import annotations

import json
import queue
import random
import select
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from broken_files import MAKE, Originals

SECONDS = 30
COUNTS = {
    **{"hdf5": 550, "hdf5_json": 400, "archive": 150, "archive_json": 120, "archive_hdf5": 80},
    **{"json": 400, "yaml": 350},
}


class Worker:
    """A process that reads files; one that hangs or crashes is noticed, and replaced."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("reader_worker.py"))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, kind: str, paths: list[Path]) -> dict[str, str]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([kind, [str(path) for path in paths]]) + "\n")
        stdin.flush()
        if not select.select([stdout], [], [], SECONDS)[0]:
            self._process.kill()
        line = stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self.__init__()  # type: ignore[misc]
        return {"traceback": f"no answer in {SECONDS} s" if code == -9 else f"the process ended with {code}"}

    def stop(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Originals:
    return Originals(tmp_path_factory.mktemp("originals"))


def test_broken_files_end_in_clear_errors_only(tmp_path: Path, originals: Originals) -> None:
    jobs: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
    for kind, count in COUNTS.items():
        for number in range(count):
            jobs.put((kind, number))
    for _ in range(2):
        jobs.put(None)
    failures: list[str] = []
    answers: Counter[str] = Counter()

    def work(here: Path) -> None:
        here.mkdir()
        worker = Worker()
        try:
            for kind, number in iter(jobs.get, None):
                what, paths = MAKE[kind](here, originals, random.Random(f"{kind} {number}"))
                answer = worker.ask(what, paths)
                answers[f"{kind}: {answer.get('error', 'read' if 'read' in answer else 'failed')}"] += 1
                if "traceback" in answer:
                    failures.append(f"{kind} {number}: {answer['traceback']}")
                elif "Traceback" in answer.get("text", ""):
                    failures.append(f"{kind} {number} tells of a traceback: {answer['text']}")
        finally:
            worker.stop()

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(work, tmp_path / str(number)) for number in range(2)]:
            done.result()
    assert not failures, f"{len(failures)} of {sum(answers.values())}, the first:\n" + "\n".join(failures[:5])
    assert sum(answers.values()) == sum(COUNTS.values()) >= 2000
    # Some files are whole all the same, most are not; none that is never read or always would test much.
    for kind in COUNTS:
        errors = sum(count for key, count in answers.items() if key.startswith(f"{kind}: ") and "Error" in key)
        assert COUNTS[kind] / 5 < errors, answers
