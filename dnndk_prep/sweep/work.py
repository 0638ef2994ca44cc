"""Runs a part of a sweep: takes what another cell has made, then starts the pipeline in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dnndk_prep.errors import DnndkPrepError, StageError
from dnndk_prep.pipeline import Pipeline
from dnndk_prep.stage_list import Selection
from dnndk_prep.sweep.sharing import Part, take

# Libraries read them once, when they are loaded.
THREADS = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)
POLL = 0.1
# A stage that computes outside Python notices the first signal late; a workspace stays whole when its run is killed.
GRACE = 1.5
LOCKED, LOCK_PATIENCE = "K2D-0029", 15.0
TAIL = 20


@dataclass(frozen=True)
class Limits:
    """What one part may take, and how often it is begun again when it was killed."""

    threads: int
    memory_gib: float | None
    retries: int
    allow_custom_code: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: done, failed, or stopped by the user.

    stage: where it failed; code: of the error; problem: its words; seconds: of this part and the cell's earlier ones.
    """

    status: str
    seconds: float = 0.0
    ran: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    stage: str | None = None
    code: str | None = None
    problem: str = ""


def run_part(part: Part, limits: Limits, before: Outcome | None = None, stop: threading.Event | None = None) -> Outcome:
    """Run `part`; never raises, since one cell's errors are its own.

    before: how the part of the same cell ended that stands before this one. stop: set to end it within seconds.
    """
    if before is not None and before.status != "done":
        return before
    started = time.monotonic()
    try:
        outcome = _run(part, limits, stop or threading.Event())
    except DnndkPrepError as error:
        outcome = _failed(error)
    except OSError as error:
        outcome = _failed(StageError(f"the cell's workspace cannot be read or written: {error}"))
    except Exception as error:
        outcome = _failed(DnndkPrepError(f"a bug of dnndk_prep: {error!r}"))
    before = before or Outcome("done")
    return replace(
        outcome,
        seconds=before.seconds + time.monotonic() - started,
        ran=before.ran + outcome.ran,
        taken=before.taken + outcome.taken,
    )


def _run(part: Part, limits: Limits, stop: threading.Event) -> Outcome:
    pipeline = Pipeline(part.cell.config(), limits.allow_custom_code)
    source = part.source
    copied = _patiently(lambda: take(pipeline, source.workspace, part.taken), stop) if source is not None else []
    if not any(step.runs for step in pipeline.plan(Selection(last=part.last))):
        return Outcome("done", taken=tuple(copied))
    for attempt in range(limits.retries + 1):
        outcome, killer = _patiently(lambda: _start(part, limits, stop), stop)
        if killer is None:
            break
        times = f", {attempt + 1} times" if attempt else ""
        outcome = replace(outcome, code="K2D-0904", problem=f"it was killed by {killer}{times}")
    return replace(outcome, taken=tuple(copied))


def _patiently(call: Any, stop: threading.Event) -> Any:
    """`call`, tried again while another process holds the workspace: one that was killed may take a moment to go."""
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            result = call()
            held = isinstance(result, tuple) and result[0].code == LOCKED
        except DnndkPrepError as error:
            if error.code != LOCKED or time.monotonic() > deadline:
                raise
            held = True
        if not held or time.monotonic() > deadline or stop.wait(1.0):
            return result


def _start(part: Part, limits: Limits, stop: threading.Event) -> tuple[Outcome, str | None]:
    """The pipeline in a process; how it ended, and the signal if it was killed from outside."""
    with tempfile.NamedTemporaryFile(prefix="dnndk_prep-sweep-") as said:
        child = subprocess.Popen(
            _command(part, limits),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=_environment(limits.threads),
            # Ctrl-C is for the sweep alone, which ends its cells in its own order.
            start_new_session=True,
        )
        try:
            ended = _wait(child, limits.memory_gib, stop)
        finally:
            _end(child)
        told, other = _read(Path(said.name))
    ran = tuple(item["stage"] for item in told if item["event"] == "done")
    if child.returncode == 0:
        return Outcome("done", ran=ran), None
    stage = next((item["stage"] for item in reversed(told) if item["event"] == "start"), None)
    if ended == "stopped":
        return Outcome("stopped", ran=ran, stage=stage), None
    if ended is not None:
        return Outcome("failed", ran=ran, stage=stage, code="K2D-0904", problem=ended), None
    outcome = Outcome("failed", ran=ran, stage=stage)
    number = killed_by(child.returncode)
    if number is not None:
        return outcome, signal.Signals(number).name
    error = next((item for item in told if item["event"] == "error"), None)
    if error is None:
        words = other[-1] if other else "no word of why"
        return replace(outcome, code="K2D-0901", problem=f"exit code {child.returncode}: {words}"), None
    return replace(outcome, code=error["code"], problem=_words(error)), None


def _command(part: Part, limits: Limits) -> list[str]:
    cell = part.cell
    words = [sys.executable, "-m", "dnndk_prep.sweep.with_parent", "run", str(cell.pipeline)]
    for item in cell.overrides:
        words += ["--set", item]
    words += ["--workspace", str(cell.workspace), "--log-format", "json"]
    words += ["--to", part.last] if part.last else []
    return words + ["--allow-custom-code"] * limits.allow_custom_code


def _environment(threads: int) -> dict[str, str]:
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **dict.fromkeys(THREADS, str(threads)),
        "PYTHONPATH": os.pathsep.join(paths),
        "DNNDK_PREP_PARENT": str(os.getpid()),
    }


def _wait(child: subprocess.Popen[bytes], memory_gib: float | None, stop: threading.Event) -> str | None:
    """Until the process ends: None; "stopped"; or in words why it has to end."""
    while child.poll() is None:
        if stop.wait(POLL):
            return "stopped"
        if memory_gib is not None and _resident(child.pid) > memory_gib * 2**30:
            return f"it took more memory than memory_gib: {memory_gib:g}"
    return None


def _resident(pid: int) -> int:
    """The bytes of memory that a process holds; 0 where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _read(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The events that the process told, and its last other lines."""
    events, other = [], []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict) and "event" in event:
            events.append(event)
        elif line.strip():
            other.append(line.strip())
    return events, other[-TAIL:]


def killed_by(code: int) -> int | None:
    """The signal that an exit code stands for: of a process that died of it, or that unwound because of it."""
    if code < 0:
        return -code
    return code - 128 if code in (128 + signal.SIGINT, 128 + signal.SIGTERM) else None


def _words(error: dict[str, Any]) -> str:
    """The error in a line: what is wrong, and what was found."""
    found = f" (found: {error['found']})" if error.get("found") else ""
    return " ".join(f"{error['problem']}{found}".split())


def _failed(error: DnndkPrepError) -> Outcome:
    return Outcome("failed", code=error.code, problem=" ".join(error.problem.split()))
