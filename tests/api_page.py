"""The page of the Python API in the reference, written from its signatures and docstrings."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

import dnndk_prep
from dnndk_prep import api

INTRO = """\
# Python API

Written from the docstrings by `tests/api_page.py`. [A notebook](../tutorials/api.ipynb) shows the same steps.
"""
# In the order in which a model passes through them.
NAMES = ("open_model", "Model", "InferenceGraph", "FrozenGraph", "OptimizedGraph", "QuantizedGraph", "CheckResult")


def page() -> str:
    """The whole page, Markdown."""
    assert set(NAMES) | {"__version__"} == set(dnndk_prep.__all__)
    head, _, about = (api.__doc__ or "").partition("\n\n")
    code, _, text = textwrap.dedent(about).partition("\n\nEach call")
    lines = textwrap.dedent(f"{code}\n").strip()
    parts = [INTRO, f"{head}\n\n```python\n{_plain(lines)}\n```\n\nEach call{text.rstrip()}\n"]
    return "\n".join([*parts, *(_entry(getattr(dnndk_prep, name), name) for name in NAMES)])


def _plain(code: str) -> str:
    lines = code.splitlines()
    return "\n".join([lines[0], *(line.removeprefix("    ") for line in lines[1:])])


def _entry(thing: Any, name: str) -> str:
    if inspect.isfunction(thing):
        return f"## {name}\n\n{_signature(name, thing)}\n{_doc(thing)}\n"
    parts = [f"## {name}\n\n{_doc(thing)}\n"]
    properties, methods = [], []
    for member, value in _members(thing):
        if isinstance(value, property):
            properties.append(f"| `{member}` | {' '.join(_doc(value).split())} |")
        else:
            methods.append(f"### {name}.{member}\n\n{_signature(member, value)}\n{_doc(value)}\n")
    if properties:
        parts.append("\n".join(["| property | what it is |", "|---|---|", *properties]) + "\n")
    return "\n".join([*parts, *methods])


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties, those of the base classes last, as they stand in the source."""
    seen = set()
    for base in kind.__mro__[:-1]:
        for name, value in vars(base).items():
            if not name.startswith("_") and name not in seen and (isinstance(value, property) or callable(value)):
                seen.add(name)
                yield name, value


def _signature(name: str, function: Any) -> str:
    parameters = inspect.signature(function).parameters.values()
    words = [_parameter(one) for one in parameters if one.name != "self"]
    star = next((i for i, one in enumerate(parameters) if one.kind is one.KEYWORD_ONLY), None)
    if star is not None:
        words.insert(star, "*")
    result = inspect.signature(function).return_annotation
    line = f"{name}({', '.join(words)}) -> {result}"
    if len(line) > 100:
        line = "\n".join([f"{name}(", *(f"    {word}," for word in words), f") -> {result}"])
    return f"```text\n{line}\n```\n"


def _parameter(one: inspect.Parameter) -> str:
    mark = {one.VAR_KEYWORD: "**", one.VAR_POSITIONAL: "*"}.get(one.kind, "")
    text = f"{mark}{one.name}: {one.annotation}"
    return text if one.default is one.empty else f"{text} = {one.default!r}"


def _doc(thing: Any) -> str:
    return inspect.getdoc(thing) or ""
