"""The page of licences is what the bill of materials says."""

from __future__ import annotations

import licences_page


def test_the_page_is_that_of_the_bill(golden):
    golden("../../../docs/reference/licences.md", licences_page.page())
