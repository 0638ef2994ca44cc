"""The report's page in Chromium: no error, nodes and tables answer, light and dark, and names run nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_facts as made

from dnndk_prep import report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (Debian package chromium)")
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # As root, in a container, it starts without its sandbox alone.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as tool:
        started = tool.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "report.html").write_text(report.page(made.facts(folder / "images", layers=12)), encoding="utf-8")
    return folder / "report.html"


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Any]:
    """`opened(size, scheme)` is the page; every message, error and request of it but for the file fails the test."""
    told: list[str] = []
    pages = []

    def open_page(size: dict[str, int], scheme: str = "light") -> Any:
        page = browser.new_page(viewport=size, color_scheme=scheme)
        pages.append(page)
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda one: told.append(one.url) if one.url.startswith("http") else None)
        page.goto(file.as_uri())
        return page

    yield open_page
    for page in pages:
        assert page.evaluate("window.broken") is None
        page.close()
    assert told == []


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_light_and_dark_and_no_wider_than_the_screen(opened, size):
    light, dark = (
        [
            int(part)
            for part in page.evaluate("getComputedStyle(document.body).backgroundColor").strip("rgb()").split(",")
        ]
        for page in (opened(size, "light"), opened(size, "dark"))
    )
    assert min(light) > 200
    assert max(dark) < 60
    assert opened(size).evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_a_click_on_a_node_shows_its_facts(opened):
    page = opened(DESK)
    page.locator(".node").nth(2).click()
    panel = page.inner_text("#panel")
    for text in ("relu0", "Relu", "DPU", "? × 8 × 8 × 4", "5 of 8 bits", "30 dB", "20.5 dB", "1 %", "mend it"):
        assert text in panel
    # The finding is of the other toolchain alone.
    page.select_option("#toolchain", "dnndk-3.1")
    assert "mend it" not in page.inner_text("#panel")
    page.locator(".node").nth(1).focus()
    page.keyboard.press("Enter")
    assert "conv0/kernel: 1 × 1 × 4 × 4" in page.inner_text("#panel")


def test_names_are_shown_as_they_are(opened):
    page = opened(DESK)
    page.locator(".node").first.click()
    assert made.SCRIPT in page.inner_text("#panel")
    page.locator(".node").last.click()
    assert page.inner_text("#panel h3") == made.IMAGE
    assert "not in the DPU" in page.inner_text("#panel")
    assert page.locator("#panel img").count() == 0
    assert made.IMAGE in page.inner_text("h1")


def test_links_plots_and_the_search_lead_to_the_node(opened):
    page = opened(DESK)
    page.locator("#finding-rows a").first.click()
    assert page.inner_text("#panel h3") == "relu0"
    page.locator("#own use").nth(5).click()
    assert page.inner_text("#panel h3") == "relu4"
    page.fill("#find", "add")
    assert page.inner_text("#panel h3") == "add1"
    page.press("#find", "Enter")
    assert page.inner_text("#panel h3") == "add2"
    box, canvas = page.locator(".node.chosen").bounding_box(), page.locator("#canvas").bounding_box()
    assert canvas["y"] <= box["y"] <= canvas["y"] + canvas["height"]


def test_tables_sort_by_number_and_back(opened):
    page = opened(DESK)
    heading = page.locator("#tensors th", has_text="SQNR").locator("button")
    column = "[...document.querySelectorAll('#tensors tbody tr')].map(row => row.cells[6].textContent)"
    heading.click()
    values = page.evaluate(column)
    numbers = [float(value) for value in values if value != "-"]
    assert numbers == sorted(numbers)
    # What has no value stays last.
    assert values[len(numbers) :] == ["-"] * 12
    heading.click()
    assert [float(value) for value in page.evaluate(column)[:13]] == numbers[::-1]
    assert page.locator("#tensors th[aria-sort]").count() == 1


def test_the_graph_grows_and_fits(opened):
    page = opened(PHONE)
    width = "document.querySelector('#canvas svg').getBoundingClientRect().width"
    page.click("#whole")
    assert page.evaluate(width) <= page.evaluate("document.getElementById('canvas').clientWidth")
    before = page.evaluate(width)
    page.click("#larger")
    assert page.evaluate(width) > before
