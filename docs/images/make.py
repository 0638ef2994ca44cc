"""Takes the README's picture of a report: python docs/images/make.py workspace/report/report.html

The picture is of the shipped pipeline.yaml's run. It takes Chromium (Debian package chromium) and the extra `dev`.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

OUT = Path(__file__).with_name("report.png")
SIZE = {"width": 1180, "height": 900}
# The sections that the picture ends with.
LAST = "#graph"


def main(page_file: Path) -> None:
    """Write report.png beside this file."""
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(page_file.resolve().as_uri())
        page.locator(".node", has_text="conv2_relu").first.click()
        page.evaluate("scrollTo(0, 0)")
        box = page.locator(LAST).bounding_box()
        assert box is not None
        clip = {"x": 0, "y": 0, "width": SIZE["width"], "height": box["y"] + box["height"] + 12}
        content = page.screenshot(full_page=True, clip=clip)
        browser.close()
    # 128 colours are all that flat areas and grey text need.
    Image.open(io.BytesIO(content)).convert("RGB").quantize(128).save(OUT, optimize=True)
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
