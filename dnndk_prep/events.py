"""What a run tells while it goes: one value a line, for a terminal, a file or a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["begin", "start", "message", "warning", "done", "skip", "error", "end"]


@dataclass(frozen=True)
class Event:
    """One thing that happened: in which stage, in words, and for a stage that is done its seconds.

    begin: the log file; start, skip: why the stage runs or does not; end: the workspace.
    """

    kind: Kind
    stage: str | None = None
    text: str = ""
    seconds: float | None = None

    def line(self) -> str:
        """The event as a line for people."""
        if self.kind == "done":
            return f"{self.stage}: done in {self.seconds:.1f} s"
        if self.kind in ("begin", "end"):
            return f"{'log' if self.kind == 'begin' else 'workspace'}: {self.text}"
        words = f"warning: {self.text}" if self.kind == "warning" else self.text
        return f"{self.stage}: {words}" if self.stage else words


Tell = Callable[[Event], None]
