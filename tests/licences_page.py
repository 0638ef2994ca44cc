"""The page of the dependencies' licences in the reference, written from the bill of materials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BILL = Path(__file__).parents[1] / "sbom.cdx.json"
INTRO = """\
# Licences

Written from `sbom.cdx.json` by `tests/licences_page.py`. The project itself is under the Apache License 2.0.

`pip install dnndk_prep` brings these packages and no others, each with what it says of its own licence. The releases
are those in `requirements.lock`, which the container has; another installation may get newer ones. The same list for
programs is the bill of materials `sbom.cdx.json` (CycloneDX 1.6), which also has the hashes.

| package | release | licence | needed by |
|---|---|---|---|
"""


def page() -> str:
    """The whole page, Markdown."""
    bill = json.loads(BILL.read_text(encoding="utf-8"))
    own = bill["metadata"]["component"]["name"]
    names = {item["bom-ref"]: item["name"] for item in bill["components"]} | {own: f"**{own}**"}
    needed: dict[str, list[str]] = {}
    for entry in bill["dependencies"]:
        for reference in entry["dependsOn"]:
            needed.setdefault(reference, []).append(names[entry["ref"]])
    rows = (
        f"| {item['name']} | {item['version']} | {licence(item)} | {', '.join(needed.get(item['bom-ref'], []))} |"
        for item in bill["components"]
    )
    return INTRO + "\n".join(rows) + "\n"


def licence(component: Mapping[str, Any]) -> str:
    """A component's licence in words."""
    (said,) = component["licenses"]
    return said["expression"] if "expression" in said else said["license"]["name"]
