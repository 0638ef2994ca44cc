"""Writes a commented pipeline.yaml from the schema: each key with what it is, filled or as an example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from dnndk_prep.schema import MODELINE, keys_of, schema

# Where the words about a key begin, and how many choices of a key are worth a list.
COLUMN, MANY = 32, 8
# Sections of which any key asks for more to be written: their defaults stay comments.
ONLY_IF_ASKED = ("saved_model", "tensorboard")
RULES = """\
# From a trained Keras model to a bundle for a Xilinx DPU.
# Every key is here; a line that begins with # changes nothing until its # goes. Check it with: dnndk-prep check
# Paths are relative to this file."""


@dataclass(frozen=True)
class Filled:
    """What is known of a model: lines about it, values by section and key, and words about some of these."""

    about: Sequence[str] = ()
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    words: Mapping[tuple[str, str], str] = field(default_factory=dict)


def of_sample() -> Filled:
    """Without a model the sample network is trained, on the data that ship with the package; its report shows all."""
    return Filled(values={"preprocess": {"channels": "rgb", "scale": 1 / 255}, "quantize": {"mode": "best"}})


def first_yaml(filled: Filled) -> str:
    """The text of the file; it passes `check` as it is."""
    whole = schema()
    lines = [MODELINE, *RULES.splitlines(), *(f"# {line}" for line in filled.about), ""]
    for name, item in whole["properties"].items():
        keys = keys_of(name, whole)
        if keys is None:
            lines.append(_line("", name, item.get("default"), item["description"]))
            continue
        made = list(_keys(name, keys, filled))
        is_empty = all(line.startswith("#") for line in made)
        lines += ["", f"# {item['description']}", f"{name}: {{}}" if is_empty else f"{name}:", *made]
    return "\n".join(lines) + "\n"


def _keys(section: str, keys: Mapping[str, Any], filled: Filled) -> Iterator[str]:
    given = filled.values.get(section, {})
    for name, item in keys.items():
        words = filled.words.get((section, name)) or _words(item)
        default = item.get("default")
        if name in given:
            yield _line("  ", name, given[name], words)
        elif default in (None, "", [], {}) or section in ONLY_IF_ASKED:
            examples = item.get("examples", [default])
            yield _line("#  ", name, examples[0], words)
        else:
            yield _line("  ", name, default, words)


def _words(item: Mapping[str, Any]) -> str:
    parts = [item, *item.get("anyOf", [])]
    choices: list[Any] = next((part["enum"] for part in parts if "enum" in part), [])
    text = item["description"]
    return f"{' | '.join(map(str, choices))}; {text}" if 0 < len(choices) <= MANY else text


def _line(indent: str, name: str, value: Any, words: str) -> str:
    text = f"{indent}{name}: {_flow(value)}"
    return f"{text:<{COLUMN - 1}} # {words}"


def _flow(value: Any) -> str:
    """The value as YAML on one line; what could be taken for something else is quoted."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
