"""Which registry serves which release."""

from __future__ import annotations

import pytest

from dnndk_prep.dpu.levels import level_of
from dnndk_prep.errors import UsageError


@pytest.mark.parametrize(
    ("reader", "level"),
    [("1.9", "1.9"), ("1.10", "1.9"), ("1.11", "1.9"), ("1.12", "1.12"), ("1.13.1", "1.12"), ("1.14", "1.12")]
    + [(later, "1.15") for later in ("1.15", "1.15.5", "2.0", "2.8", "2.12", "2.21")],
)
def test_the_newest_that_is_not_newer(reader: str, level: str):
    assert level_of(reader) == level


@pytest.mark.parametrize("reader", ["1.8", "0.12", "2", "", "latest", "1.9-rc1", "١.٩x"])
def test_anything_else_is_refused(reader: str):
    with pytest.raises(UsageError):
        level_of(reader)
