"""The table of formats is what the tests read."""

from __future__ import annotations

import formats


def test_the_table_is_that_of_the_tests(golden):
    golden("../../../docs/reference/formats.md", formats.table())
