"""The reference of report.json is what its schema says."""

from __future__ import annotations

import report_reference


def test_the_page_is_that_of_the_schema(golden):
    golden("../../../docs/reference/report.md", report_reference.page())
