"""An interpreter with all that a run imports, which forks for each run: a run then takes what it does alone.

`python prepared.py` is the interpreter, with the pipeline's own stages and TensorFlow; with a second word, with the
stages of the module of that name. It reads a request a line (JSON), forks, and answers with the child's number and,
when that has ended, its exit code. `Prepared` is what a test holds of it. The child runs dnndk_prep.cli.main with the
words that it is given, above a file layer that can fail (faulty.c, preloaded).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OFF, COUNT, KILL_BEFORE, KILL_AFTER, KILL_INSIDE, FAIL_ONCE, FAIL_FROM = range(7)


@dataclass(frozen=True)
class Fault:
    """What the file layer does: its mode, at which call below the workspace, with which error, to reads or writes."""

    mode: int = OFF
    number: int = 0
    error: int = 0
    reads: bool = False


@dataclass(frozen=True)
class Ended:
    """A run that is over: its exit code (negative: the signal), what it said, its seconds and its calls of files."""

    code: int
    out: str
    err: str
    seconds: float


class Prepared:
    """A prepared interpreter; one run at a time. A context."""

    def __init__(self, folder: Path, library: Path | None, stages: str | None = None) -> None:
        """folder: for what its runs write on standard output and standard error; stages: a module with install()."""
        folder.mkdir(exist_ok=True)
        self._folder, self._library, self._words = folder, library, [stages] if stages else []

    def __enter__(self) -> Prepared:
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        if self._library is not None:
            env["LD_PRELOAD"] = str(self._library)
        self._server = subprocess.Popen(
            [sys.executable, __file__, *self._words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        assert self._answer()["ready"]
        return self

    def __exit__(self, *error: object) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(timeout=60)

    def start(self, words: Sequence[str], workspace: Path, fault: Fault = Fault(), cwd: Path | None = None) -> int:
        """Begin a run; its process."""
        request = {
            "words": list(words),
            "cwd": str(cwd or self._folder),
            "output": str(self._folder),
            "below": str(workspace),
            "fault": [fault.mode, fault.number, fault.error, int(fault.reads)],
        }
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        self._began = time.monotonic()
        self._pid: int = self._answer()["pid"]
        return self._pid

    def end(self, kill_after: float | None = None, number: int = signal.SIGKILL, limit: float = 300) -> Ended:
        """Wait for the run; with `kill_after`, send it the signal after so many seconds."""
        if kill_after is not None:
            time.sleep(max(0.0, self._began + kill_after - time.monotonic()))
            with suppress(ProcessLookupError):  # It may have ended by itself.
                os.kill(self._pid, number)
        code = self._answer()["code"]
        seconds = time.monotonic() - self._began
        assert seconds < limit, f"the run took {seconds:.0f} s"
        out, err = ((self._folder / name).read_text(errors="replace") for name in ("out", "err"))
        return Ended(code, out, err, seconds)

    def run(self, words: Sequence[str], workspace: Path, fault: Fault = Fault(), cwd: Path | None = None) -> Ended:
        self.start(words, workspace, fault, cwd)
        return self.end()

    def journal(self) -> list[str]:
        """The calls of the last run with Fault(COUNT): number, name, path below the workspace."""
        return (self._folder / "journal").read_text(errors="replace").splitlines()

    def _answer(self) -> dict:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, "the prepared interpreter is gone"
        return json.loads(line)


def library(folder: Path) -> Path | None:
    """faulty.c, compiled into `folder`; None where there is no C compiler."""
    made, source = folder / "faulty.so", Path(__file__).parent / "faulty.c"
    command = ["cc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-o", str(made), str(source), "-ldl"]
    try:
        subprocess.run(command, check=True)
    except FileNotFoundError:
        return None
    return made


def _serve(stages: str | None) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import importlib

    from dnndk_prep import cli

    for name in ("console", "config_file", "pipeline", "run_log"):
        importlib.import_module(f"dnndk_prep.{name}")
    if stages is None:
        _import_stages()
    else:
        importlib.import_module(stages).install()

    def answer(**facts: object) -> None:
        answers.write(json.dumps(facts) + "\n")
        answers.flush()

    answer(ready=True)
    # Not `for line in sys.stdin`: that reads ahead, and a child would have the rest.
    while line := sys.stdin.readline():
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(request, cli.main)
        answer(pid=pid)
        _, status = os.waitpid(pid, 0)
        answer(code=os.waitstatus_to_exitcode(status))


def _import_stages() -> None:
    import importlib

    from dnndk_prep import stage_list
    from dnndk_prep.quiet import quiet_start

    with quiet_start():
        for name in ("keras", "tensorflow", "tf_keras", "dnndk_prep.stages._training"):
            importlib.import_module(name)
        for name in stage_list.NAMES:
            importlib.import_module(f"dnndk_prep.stages.{name}")


def _child(request: dict[str, Any], main: Any) -> None:
    code = 99
    try:
        os.setpgid(0, 0)
        os.chdir(request["cwd"])
        output = Path(request["output"])
        for descriptor, name in ((1, "out"), (2, "err")):
            file = os.open(output / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            os.dup2(file, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        mode, *numbers = request["fault"]
        if mode != OFF:
            journal = os.open(output / "journal", os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if mode == COUNT else -1
            ctypes.CDLL(None).faulty_arm(os.fsencode(request["below"]), mode, *numbers, journal)
        try:
            code = main(request["words"])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # Without what an interpreter does at its end, which belongs to the server.
        os._exit(code)


if __name__ == "__main__":
    _serve(*sys.argv[1:2] or [None])
