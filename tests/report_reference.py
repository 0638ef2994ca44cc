"""The page about report.json in the reference, written from its schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

INTRO = """\
# The report

The stage `report` writes three files from what the other stages recorded:

| file | for |
|---|---|
| `report.html` | people: one file that needs no network, in light and dark, also on a phone |
| `report.md` | people in a terminal, a pull request, a mail |
| `report.json` | programs; the tables below |

For the same facts each has the same bytes, but for the stages' seconds. None names a folder of the machine.

The verdict on top is one of three:

- `stopped`: there is no bundle, the graph was not quantized, an input has to be mended, a finding is an error, or no
  node runs on the DPU.
- `look`: it runs, but the DPU's part falls apart into several subgraphs, there are findings or warnings, or int8 loses
  more than one point of top-1.
- `ready`: none of these. What the host's CPU computes is listed.

In `report.html` a click on a node of the graph, on a node's name in a table, or on a marker of the plot shows the
node's shape, place, positions, errors, findings and remedies. A heading of a table sorts by its column. The page holds
the script and the style that it needs and forbids any other by its Content-Security-Policy.

## report.json

Written from `dnndk_prep/report/schema.json` (JSON Schema 2020-12) by `tests/report_reference.py`. `[]` stands for the
items of a list, `*` for the keys of a map.

| key | type | what |
|---|---|---|
"""


def schema() -> dict[str, Any]:
    """The schema as it ships."""
    text = (resources.files("dnndk_prep.report") / "schema.json").read_text(encoding="utf-8")
    whole: dict[str, Any] = json.loads(text)
    return whole


def page() -> str:
    """The whole page, Markdown."""
    return INTRO + "".join(f"| `{key}` | {kind} | {what} |\n" for key, kind, what in _rows(schema(), "", schema()))


def _rows(item: dict[str, Any], path: str, whole: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    if "$ref" in item:
        item = whole["$defs"][item["$ref"].rpartition("/")[2]]
    if path:
        yield path, _kind(item), item.get("description", "")
    for name, part in item.get("properties", {}).items():
        yield from _rows(part, f"{path}.{name}" if path else name, whole)
    if isinstance(more := item.get("additionalProperties"), dict):
        yield from _rows(more, f"{path}.*", whole)
    if isinstance(each := item.get("items"), dict) and {"properties", "$ref"} & set(each):
        yield from _rows(each, f"{path}[]", whole)


def _kind(item: dict[str, Any]) -> str:
    if "const" in item:
        return str(item["const"])
    if "enum" in item:
        return ", ".join(f"`{value}`" for value in item["enum"])
    if "anyOf" in item:
        return " or ".join(_kind(part) for part in item["anyOf"])
    kinds = item.get("type", "")
    return kinds if isinstance(kinds, str) else " or ".join(kinds)
