"""What the tests of this folder ran, in figures: kept in recorded/, and docs/reliability.md is written from them.

A test asks for the fixture `figures` and counts in a row:

    @pytest.mark.faults                     # the whole numbers, by `scripts/test faults` alone
    def test_mutated_yaml(figures):
        with figures("Inputs", "mutated YAML files are read or refused in clear words") as row:
            for case in cases:
                row.cases += 1              # or row.runs, row.faults: what is 0 stays empty in the table
                if not clear(case):
                    row.lose(case.name)     # what was lost or let in
            row.fact("largest memory", "412 MB")

At the end of the block the row gets its seconds, and a test that lost something fails. Only a test with the mark
`faults` is recorded, under its file and the row's two texts; where it fails, its row goes, so the page tells of nothing
that no longer holds. A sample of the same test, without the mark, uses the same lines and records nothing.

`python tests/faults/figures.py` writes the page from what is recorded; test_page.py holds the page to it.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

RECORDED = Path(__file__).parent / "recorded"
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
COUNTS = ("runs", "faults", "cases", "lost")
# The order of the page; a part that is not named here comes last.
PARTS = (
    "Kill",
    "Signals",
    "Disk",
    "Two at once",
    "Tampering",
    "Same bytes",
    "Inputs",
    "Load",
    "Packaging",
    "Scale-out",
)

INTRO = """\
# Reliability, in figures

Written by `scripts/test faults` from what its tests ran; a bounded sample of each is part of the ordinary tests.
Runs: whole runs of the pipeline. Faults: what was done to them. Cases: inputs that were tried. Lost: runs that did not
end well or with other bytes, inputs that were let in or ended in anything but a clear message. A test that loses
anything fails, and has no row here.
"""


@dataclass
class Row:
    """One line of the page while its test runs."""

    part: str
    what: str
    runs: int = 0
    faults: int = 0
    cases: int = 0
    lost: int = 0
    seconds: float = 0.0
    facts: dict[str, str] = field(default_factory=dict)
    machine: str = ""
    losses: list[str] = field(default_factory=list)

    def lose(self, words: str) -> None:
        """Count one loss; the words are told when the test fails."""
        self.lost += 1
        self.losses.append(words)

    def fact(self, name: str, value: object) -> None:
        """A measured fact beside the counts: memory, a time, a size."""
        self.facts[name] = str(value)


Figures = Callable[[str, str], AbstractContextManager[Row]]


def counting(file: str, kept: bool) -> Figures:
    """What the fixture gives to a test of the file `file` (recorded/<file>.json); `kept`: whether it is recorded."""

    @contextmanager
    def count(part: str, what: str) -> Iterator[Row]:
        row, started = Row(part, what, machine=machine()), time.monotonic()
        good = False
        try:
            yield row
            assert not row.lost, f"{row.lost} lost: " + "; ".join(row.losses[:20])
            good = True
        finally:
            row.seconds = round(time.monotonic() - started, 1)
            if kept:
                _record(file, row, good)

    return count


def machine() -> str:
    """What the figures were measured on, without a name of it."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    versions = f"Python {platform.python_version()}, TensorFlow {metadata.version('tensorflow')}"
    return f"{cores} cores ({platform.machine()}), {round(pages / 2**30)} GB, {system}, {versions}"


def page() -> str:
    """The whole of docs/reliability.md."""
    rows = [row for file in sorted(RECORDED.glob("*.json")) for row in _rows(file).values()]
    rows.sort(key=lambda row: (PARTS.index(row.part) if row.part in PARTS else len(PARTS), row.part, row.what))
    total = Row("", "all together", **{name: sum(getattr(row, name) for row in rows) for name in COUNTS})
    total.seconds = sum(row.seconds for row in rows)
    table = ["| part | what | runs | faults | cases | lost | seconds |", "|---|---|---|---|---|---|---|"]
    table += [_line(row) for row in [*rows, total]]
    facts = [f"- {row.part}, {row.what}: {_facts(row)}" for row in rows if row.facts]
    parts = [INTRO, "\n".join(table) + "\n"]
    parts += ["## Measured beside that\n", "\n".join(facts) + "\n"] if facts else []
    machines = sorted({row.machine for row in rows})
    parts += ["## Measured on\n", "\n".join(f"- {words}" for words in machines) + "\n"] if machines else []
    return "\n".join(parts)


def write_page() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def _line(row: Row) -> str:
    counts = [f"{getattr(row, name):,}" if getattr(row, name) or name == "lost" else "" for name in COUNTS]
    return f"| {' | '.join([row.part, row.what, *counts, f'{row.seconds:,.0f}'])} |"


def _facts(row: Row) -> str:
    return "; ".join(f"{name} {value}" for name, value in row.facts.items())


def _rows(file: Path) -> dict[str, Row]:
    return {key: Row(**facts) for key, facts in json.loads(file.read_text(encoding="utf-8")).items()}


def _record(file: str, row: Row, good: bool) -> None:
    """Put the row into its file, or take it out, and write the page; several processes may test at once."""
    RECORDED.mkdir(exist_ok=True)
    path = RECORDED / f"{file}.json"
    with (RECORDED / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = _rows(path) if path.exists() else {}
        rows.pop(f"{row.part}: {row.what}", None)
        if good:
            rows[f"{row.part}: {row.what}"] = row
        told = {key: {n: v for n, v in asdict(one).items() if n != "losses"} for key, one in sorted(rows.items())}
        path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        write_page()


if __name__ == "__main__":
    write_page()
