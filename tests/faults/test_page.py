"""docs/reliability.md is what was recorded, and what was recorded lost nothing."""

from __future__ import annotations

from pathlib import Path

import figures as module
import pytest
from figures import PAGE, RECORDED, counting, page


def test_the_page_is_written_from_what_was_recorded():
    assert PAGE.read_text(encoding="utf-8") == page(), "write it with: python tests/faults/figures.py"


def test_nothing_recorded_was_lost():
    rows = [row for file in RECORDED.glob("*.json") for row in module._rows(file).values()]
    assert all(row.lost == 0 and row.seconds and row.runs + row.faults + row.cases for row in rows)


def test_a_loss_fails_its_test_and_takes_its_row_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "RECORDED", tmp_path)
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    for kept in (True, False):
        with counting("kill", kept)("Kill", "one way") as row:
            row.runs += 1234
            row.fact("slowest", "2 s")
    text = (tmp_path / "page.md").read_text()
    assert "| Kill | one way | 1,234 |  |  | 0 | 0 |" in text
    assert "- Kill, one way: slowest 2 s" in text

    def lose() -> None:
        with counting("kill", True)("Kill", "one way") as row:
            row.lose("run 7")

    with pytest.raises(AssertionError, match="1 lost: run 7"):
        lose()
    assert "one way" not in (tmp_path / "page.md").read_text()
