"""The page of error codes is what the data say."""

from __future__ import annotations

import errors_page


def test_the_page_is_that_of_the_data(golden):
    golden("../../../docs/reference/errors.md", errors_page.page())
