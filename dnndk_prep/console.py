"""Shows a run while it goes: a bar with the time left on a terminal, else plain lines, or JSON lines for programs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

from dnndk_prep.errors import DnndkPrepError
from dnndk_prep.events import Event

REFRESH = 0.5
# Seconds of each stage with the shipped pipeline.yaml, for stages that have never run here: only how they compare with
# each other counts, since the first stage that is done tells how fast this machine and this model are.
TYPICAL = {
    "train_save": 40.0,
    "keras_2_tf": 8.0,
    "freeze_graph": 2.0,
    "optimize_for_inference": 3.0,
    "dpu_check": 0.5,
    "calib_input": 0.5,
    "quantize": 10.0,
    "export": 4.0,
    "report": 0.2,
}
UNKNOWN = 3.0


class Console:
    """Plain lines. A context; the output is there for others when it ends."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __enter__(self) -> Console:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        return None

    def tell(self, event: Event) -> None:
        """Show the event now: the next one may be minutes away."""
        print(event.line(), file=self._out, flush=True)


class JsonLines(Console):
    """One JSON object a line: time (UTC), event, and what it tells; errors by code and exit code."""

    def tell(self, event: Event) -> None:
        facts = {"time": _now(), "event": event.kind, **asdict(event)}
        facts.pop("kind")
        if event.seconds is not None:
            facts["seconds"] = round(event.seconds, 3)
        self._print(facts)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not isinstance(error, Exception):
            return
        known = error if isinstance(error, DnndkPrepError) else DnndkPrepError(f"a bug of dnndk_prep: {error!r}")
        facts = {"code": known.code, "exit_code": known.exit_code, "problem": known.problem}
        facts |= {"expected": known.expected, "found": known.found, "remedy": known.remedy}
        self._print({"time": _now(), "event": "error", **facts})

    def _print(self, facts: Mapping[str, object]) -> None:
        told = {name: value for name, value in facts.items() if value not in (None, "")}
        print(json.dumps(told), file=self._out, flush=True)


class Pace:
    """How far a run is, from the seconds that its stages took the last time or take as a rule."""

    def __init__(self, expected: Mapping[str, float | None]) -> None:
        """expected: the seconds of the last run of each chosen stage, None for one that never ran."""
        self.stages = list(expected)
        self._expected = {
            name: TYPICAL.get(name, UNKNOWN) if seconds is None else seconds for name, seconds in expected.items()
        }
        self._waiting = dict(self._expected)
        self._ran = self._took = 0.0

    def finished(self, stage: str, seconds: float, ran: bool) -> None:
        """The stage is done; one that was skipped tells nothing about the others."""
        self._waiting.pop(stage, None)
        if ran:
            self._ran += self._expected.get(stage, UNKNOWN)
            self._took += seconds

    def left(self, stage: str | None, spent: float) -> float:
        """The seconds left, `spent` of them in `stage`; 0 where the stage takes longer than was expected."""
        rate = self._took / self._ran if self._ran else 1.0
        now = self._waiting.get(stage, 0.0) * rate if stage else 0.0
        rest = sum(seconds for name, seconds in self._waiting.items() if name != stage) * rate
        return max(now - spent, 0.0) + rest

    def number(self, stage: str) -> int:
        return self.stages.index(stage) + 1 if stage in self.stages else 0


class Terminal(Console):
    """Lines that stay, and below them the stage that runs, a bar and the time left."""

    def __init__(self, out: TextIO, expected: Mapping[str, float | None]) -> None:
        super().__init__(out)
        self._pace, self._stage = Pace(expected), ""
        self._began = self._stage_began = time.monotonic()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Console:
        # Only a terminal needs it.
        from tqdm import tqdm

        tqdm.monitor_interval = 0
        self._bar = tqdm(total=1.0, file=self._out, leave=False, dynamic_ncols=True, bar_format="...")
        self._ticker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._ticker.join()
        self._bar.clear()
        self._bar.close()

    def tell(self, event: Event) -> None:
        if event.kind == "start":
            self._stage, self._stage_began = event.stage or "", time.monotonic()
        elif event.kind in ("done", "skip") and event.stage:
            self._pace.finished(event.stage, event.seconds or 0.0, event.kind == "done")
            self._stage, self._stage_began = "", time.monotonic()
        self._bar.write(event.line(), file=self._out)
        self._out.flush()

    def _tick(self) -> None:
        while not self._over.wait(REFRESH):
            self._show()

    def _show(self) -> None:
        now = time.monotonic()
        spent, left = now - self._began, self._pace.left(self._stage, now - self._stage_began)
        self._bar.n = spent / (spent + left) if left else 0.99
        number, total = self._pace.number(self._stage), len(self._pace.stages)
        self._bar.desc = f"[{number}/{total}] {self._stage}" if number else "..."
        words = _clock(spent) + (f", about {_clock(left)} left" if left >= 1 else "")
        self._bar.bar_format = f"{{desc}} |{{bar:24}}| {words}"
        self._bar.refresh()


def console(out: TextIO, log_format: str | None, expected: Mapping[str, float | None]) -> Console:
    """The console for `--log-format` (text, json); without it a terminal gets the bar, and all else plain lines."""
    if log_format == "json":
        return JsonLines(out)
    return Terminal(out, expected) if log_format is None and out.isatty() else Console(out)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
