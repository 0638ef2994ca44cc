"""The table of layers and operations is what the battery runs."""

from __future__ import annotations

from battery import PATTERNS
from battery.table import table


def test_the_table_is_that_of_the_battery(golden):
    golden("../../../docs/reference/operators.md", table())


def test_the_battery_is_large_enough():
    assert len({pattern.name for pattern in PATTERNS}) == len(PATTERNS) >= 40
