"""Fills the package's text templates; what a user named is quoted for the language it lands in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

_FOLDER = Path(__file__).parent


def render(template: str, values: Mapping[str, Any]) -> str:
    """The text of `template` (a path under this folder) with `values`; a missing value is an error."""
    return _environment().get_template(template).render(values)


def shell(value: object) -> str:
    """`value` as one word of a POSIX shell, whatever characters it holds."""
    return shlex.quote(str(value))


def markdown(value: object) -> str:
    """`value` as plain text in one line of Markdown, table cells included."""
    text = " ".join(str(value).split())
    text = re.sub(r"([\\`*\[\]<>|#~])", r"\\\1", text)
    # Only an underscore at the edge of a word begins or ends emphasis.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)


def code(value: object) -> str:
    """`value` as a code span in one line of Markdown, table cells included."""
    text = " ".join(str(value).split()).replace("|", r"\|")
    if not text:
        return "(empty)"
    # A fence longer than any run of backticks inside; a space where the text itself touches the fence.
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def dimensions(shape: Sequence[int | None]) -> str:
    """A shape in words: `? x 32 x 32 x 3`."""
    return " x ".join("?" if size is None else str(size) for size in shape)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Texts stay texts in a page; scripts and Markdown have filters for each value.
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
    )
    # `ascii` gives a literal of Python, in any source file's coding.
    environment.filters.update(sh=shell, md=markdown, code=code, dims=dimensions, literal=ascii)
    return environment
