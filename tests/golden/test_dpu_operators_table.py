"""The table of the DPU's operators is that of the rules."""

from __future__ import annotations

import dpu_operators


def test_the_table_is_that_of_the_rules(golden):
    golden("../../../docs/reference/dpu_operators.md", dpu_operators.table())
