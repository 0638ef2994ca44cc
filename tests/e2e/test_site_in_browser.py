"""The documentation as a site: it builds without a warning, asks no network for anything, and fits a phone."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pages
import pytest

mkdocs = pytest.importorskip("mkdocs.commands.build", reason="mkdocs is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 800}
# Each kind of page: long tables, blocks of commands, pictures.
LOOKED_AT = ("index", "tutorials/int8_drop/index", "how-to/node-names", "reference/cli", "reference/targets")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; what MkDocs warns of is an error."""
    from mkdocs.config import load_config

    told: list[str] = []

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    handler = Told(logging.WARNING)
    logging.getLogger("mkdocs").addHandler(handler)
    folder = tmp_path_factory.mktemp("site")
    try:
        mkdocs.build(load_config(str(pages.ROOT / "mkdocs.yml"), site_dir=str(folder)))
    finally:
        logging.getLogger("mkdocs").removeHandler(handler)
    assert told == []
    return folder


def test_pages_fetch_nothing_and_no_fence_is_left_as_text(site: Path):
    found = [page for page in site.rglob("*.html") if page.name != "404.html"]
    assert len(found) == len(pages.pages()) - 1
    for page in found:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'<(?:script|img|link)[^>]+(?:src|href)="?(?:https?:)?//', text), page
        assert "```" not in text, page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium (Debian package chromium)")
    # As root, in a container, it starts without its sandbox alone.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as tool:
        started = tool.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield started
        started.close()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_pages_open_as_files_and_fit_the_screen(size: dict[str, int], site: Path, browser: Any):
    page = browser.new_page(viewport=size)
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    for name in LOOKED_AT:
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], name
        assert page.inner_text("h1")
    page.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
