"""The log file of a run: every line, the tracebacks, and what the libraries write while they work."""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from dnndk_prep.events import Event
from dnndk_prep.quiet import noise_into

FOLDER = "logs"
# A run in which nothing changed leaves one, too.
KEPT = 20


class RunLog:
    """A context that holds workspace/logs/<time>-<process>.log open.

    It stands beside the stages' folders and is no part of what they hash. The libraries' words go into it instead of
    the terminal, unless they are wanted there (`verbose`).
    """

    def __init__(self, workspace: Path, command: Sequence[str], versions: Mapping[str, str], verbose: bool) -> None:
        self.path = workspace / FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        self._head = [f"{name} {version}" for name, version in versions.items()]
        self._command, self._verbose = " ".join(command), verbose
        self._stack, self._full = ExitStack(), False

    def __enter__(self) -> RunLog:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for old in sorted(self.path.parent.glob("*.log"))[: -KEPT + 1]:
            old.unlink(missing_ok=True)
        # Without a buffer, since the libraries write into the same file.
        self._file = self._stack.enter_context(self.path.open("ab", buffering=0))
        self._terminal = os.dup(2)
        self._stack.callback(os.close, self._terminal)
        self._write(f"{self._command}\nPython {platform.python_version()}, {', '.join(self._head)}\n")
        if not self._verbose:
            self._stack.enter_context(noise_into(self._file.fileno()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            self._write("".join(traceback.format_exception(error)))
        self._stack.close()

    def tell(self, event: Event) -> None:
        """Write the event with the time of day."""
        self._write(f"{time.strftime('%H:%M:%S')} {event.line()}\n")

    def _write(self, text: str) -> None:
        if self._file.closed or self._full:
            return
        try:
            self._file.write(text.encode("utf-8", errors="backslashreplace"))
        except OSError as error:
            # A disk that is full for the log may still do for the artifacts; where not, their error must be told.
            self._full = True
            os.write(self._terminal, f"the log ends here, {self.path.name}: {error.strerror}\n".encode())
