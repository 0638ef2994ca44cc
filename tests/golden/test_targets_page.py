"""The page of targets is what the tables say."""

from __future__ import annotations

import targets_page


def test_the_page_is_that_of_the_tables(golden):
    golden("../../../docs/reference/targets.md", targets_page.page())
