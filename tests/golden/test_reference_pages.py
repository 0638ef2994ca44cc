"""The pages of the reference that are written from the code say what the code says."""

from __future__ import annotations

import api_page
import cli_page
import pytest
import yaml_page

PAGES = {"cli": cli_page, "pipeline_yaml": yaml_page, "python_api": api_page}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_that_of_the_code(name: str, golden):
    golden(f"../../../docs/reference/{name}.md", PAGES[name].page())
