"""Runs `hdf5.examine` in a process of its own, with limits on time and memory: HDF5 may crash or hang on a broken file.

One server without TensorFlow is started at the first file and forks for each, which takes milliseconds.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from dnndk_prep.errors import DnndkPrepError, ModelFileError, UnsafeFileError
from dnndk_prep.keras_io.scan.words import shown

# Address space: enough for h5py and any list of names, too little for a bomb.
MAX_MEMORY = 2**30
# Seconds of the processor, and more for what is packed; seconds of the clock for a file system that hangs.
CPU_SECONDS, BYTES_A_SECOND, CLOCK_SECONDS = 1.0, 20e6, 120
MEMORY = ("the file", f"in need of more than {MAX_MEMORY} bytes of memory")
# Runs with the module path of this process, not with the working folder's: a file there may be called h5py.py.
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from dnndk_prep.keras_io.scan import sandbox; "


def examine_apart(path: Path) -> dict[str, Any]:
    """What `hdf5.examine` tells of the file.

    Raises UnsafeFileError where the file is refused, and where HDF5 crashes, hangs or asks for too much memory; and
    ModelFileError where it cannot be read.
    """
    said = _said(path)
    answer = said["answer"]
    if answer is None:
        raise _crashed(path, said["status"])
    if "refused" in answer:
        place, what = map(shown, answer["refused"])
        raise UnsafeFileError(
            f"{path} is refused: {place} is {what}",
            expected="a file that holds all its data, as Keras writes it",
            found=f"{place}: {what}",
            remedy="save the model again with Keras",
        )
    if "broken" in answer:
        raise ModelFileError(
            f"{path} cannot be read as HDF5",
            expected="a whole HDF5 file",
            found=f"{shown(answer['broken'])} ({path.stat().st_size} bytes)",
            remedy="copy the file again (it may be cut short), or save the model again",
        )
    return answer


def _said(path: Path) -> dict[str, Any]:
    """The server's word on the file, once for each content: a file that is written to gets another time of change."""
    facts = path.stat()
    key = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    if key not in _known:
        _known[key] = _server.ask(str(Path.cwd() / path))
    return copy.deepcopy(_known[key])


def serve() -> None:
    """Answer each path on the standard input by a line of JSON: {"status": of the process, "answer": or null}."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Once, for all forks; the process that asks needs neither h5py nor numpy.
    importlib.import_module("dnndk_prep.keras_io.scan.hdf5")
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            _answer(json.loads(line), writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            text = pipe.read()
        _, status = os.waitpid(child, 0)
        answer = json.loads(text) if status == 0 else None
        print(json.dumps({"status": status, "answer": answer}), flush=True)


def _answer(path: str, writer: int) -> None:
    """In the fork: look at the file, write the answer, and leave without cleaning up for the server."""
    from dnndk_prep.keras_io.scan.hdf5 import RefusedError, examine

    try:
        seconds = CPU_SECONDS + Path(path).stat().st_size / BYTES_A_SECOND
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.alarm(CLOCK_SECONDS)
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            answer = examine(path)
        except RefusedError as error:
            answer = {"refused": [error.place, error.what]}
        except MemoryError:
            answer = {"refused": MEMORY}
        # h5py raises nearly anything for a broken file.
        except Exception as error:
            lines = [*str(error).strip().splitlines(), ""]
            answer = {"broken": f"{type(error).__name__}: {lines[0]}"}
            if "allocation failed" in lines[0]:
                answer = {"refused": MEMORY}
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
        os._exit(0)
    finally:
        os._exit(1)


def _crashed(path: Path, status: int) -> UnsafeFileError:
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    is_late = number in (signal.SIGPROF, signal.SIGALRM)
    how = "does not come to an end" if is_late else f"crashes ({signal.Signals(number).name if number else status})"
    return UnsafeFileError(
        f"{path} is refused: the HDF5 library {how} on it",
        expected="a whole HDF5 file",
        found="a file that is broken, or made to break its reader",
        remedy="copy the file again, or save the model again",
    )


class _Server:
    """The process that forks; started at the first question, and again if it is gone."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def ask(self, path: str) -> dict[str, Any]:
        with self._lock:
            for _ in range(2):
                line = self._try(path)
                if line:
                    return json.loads(line)
                self.stop()
        raise DnndkPrepError("the process that looks at HDF5 files ends at once", found=path)

    def stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.communicate()
            self._process = None

    def _try(self, path: str) -> str:
        self._process = self._process or self._start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(path) + "\n")
            self._process.stdin.flush()
            return self._process.stdout.readline()
        except BrokenPipeError:
            return ""

    def _start(self) -> subprocess.Popen[str]:
        # A thread of the numeric library would not survive the fork.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-P", "-c", START + "sandbox.serve()", json.dumps([str(place) for place in sys.path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )


_server = _Server()
_known: dict[tuple[int, ...], dict[str, Any]] = {}
atexit.register(_server.stop)
