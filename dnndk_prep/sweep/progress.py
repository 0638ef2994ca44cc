"""Shows a sweep while it goes: a line for each cell that ended, and on a terminal a bar of the cells."""

from __future__ import annotations

from types import TracebackType
from typing import Any, TextIO

from dnndk_prep.console import Console, console
from dnndk_prep.events import Event
from dnndk_prep.sweep.cells import Cell
from dnndk_prep.sweep.work import Outcome


class CellsBar(Console):
    """The bar's time left is that of the cells so far, as they ended."""

    def __init__(self, out: TextIO, total: int) -> None:
        super().__init__(out)
        self._total = total

    def __enter__(self) -> CellsBar:
        # Only a terminal needs it.
        from tqdm import tqdm

        tqdm.monitor_interval = 0
        self._bar: Any = tqdm(total=self._total, file=self._out, leave=False, dynamic_ncols=True, unit="cell")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._bar.close()

    def tell(self, event: Event) -> None:
        self._bar.write(event.line(), file=self._out)
        if event.kind in ("done", "skip", "error"):
            self._bar.update(1)

    def tick(self) -> None:
        """Move the clock."""
        self._bar.refresh()


def cells_console(out: TextIO, log_format: str | None, total: int) -> Console:
    """As the console of one run, with cells in the place of stages."""
    if log_format is None and out.isatty():
        return CellsBar(out, total)
    return console(out, log_format or "text", {})


def event_of(cell: Cell, outcome: Outcome) -> Event:
    """What is told of a cell that ended."""
    if outcome.status == "failed":
        where = f"{outcome.stage}: " if outcome.stage else ""
        return Event("error", cell.name, f"failed: {where}{outcome.problem} ({outcome.code})", outcome.seconds)
    if outcome.status == "stopped":
        return Event("message", cell.name, "stopped")
    if not outcome.ran and not outcome.taken:
        return Event("skip", cell.name, "nothing changed")
    return Event("done", cell.name, "", outcome.seconds)
