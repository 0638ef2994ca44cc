"""The page of pipeline.yaml in the reference, written from its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from dnndk_prep.schema import keys_of, schema

INTRO = """\
# pipeline.yaml

Written from the schema by `tests/yaml_page.py`; `dnndk-prep schema` prints it for editors, and `dnndk-prep init` writes
a file with every key in it. Each key may be left out. Paths are relative to the YAML. `--set section.key=value` on the
command line sets one key for one run, and `dnndk-prep check` lists every mistake at once, with its line.

"""


def page() -> str:
    """The whole page, Markdown."""
    whole = schema()
    parts, plain = [], []
    for name, item in whole["properties"].items():
        keys = keys_of(name, whole)
        if keys is None:
            plain.append((name, item))
        else:
            parts.append(f"## {name}\n\n{item['description']}\n\n{_table(keys.items())}")
    return f"{INTRO}## At the top\n\n{_table(plain)}\n" + "\n".join(parts)


def _table(keys: Any) -> str:
    rows = [f"| `{name}` | {_kind(item)} | {_default(item)} | {_what(item)} |" for name, item in keys]
    return "\n".join(["| key | value | default | what it is |", "|---|---|---|---|", *rows]) + "\n"


def _kind(item: Mapping[str, Any]) -> str:
    return " or ".join(dict.fromkeys(_kinds(item)))


def _kinds(item: Mapping[str, Any]) -> Iterator[str]:
    if "anyOf" in item:
        for part in item["anyOf"]:
            if part.get("type") != "null":
                yield from _kinds(part)
    elif "const" in item:
        yield _code(item["const"])
    elif "enum" in item:
        yield ", ".join(map(_code, item["enum"]))
    elif item.get("type") == "array":
        yield f"list of {_kind(item.get('items', {})) or 'values'}"
    elif item.get("type") == "object":
        more = item.get("additionalProperties")
        yield f"map of {_kind(more) or 'values'}" if isinstance(more, dict) else "map"
    else:
        yield _limited(item)


def _limited(item: Mapping[str, Any]) -> str:
    words = {"boolean": "true or false", "string": "text", "integer": "whole number", "number": "number"}
    text = words.get(item.get("type", ""), item.get("type", ""))
    least, most = item.get("minimum"), item.get("maximum", item.get("exclusiveMaximum"))
    if least is not None and "exclusiveMaximum" not in item and most is not None:
        return f"{text} from {least} to {most}"
    if least is not None:
        return f"{text} from {least}"
    return f"{text} above {item['exclusiveMinimum']}" if "exclusiveMinimum" in item else text


def _default(item: Mapping[str, Any]) -> str:
    default = item.get("default")
    return "" if default in (None, [], {}, "") else _code(default)


def _what(item: Mapping[str, Any]) -> str:
    text = item.get("description", "").replace("|", "\\|")
    if _default(item) or not item.get("examples"):
        return text
    return f"{text}; for example {_code(item['examples'][0])}"


def _code(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"
