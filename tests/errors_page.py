"""The page of error codes in the reference, written from the data of the package."""

from __future__ import annotations

from dnndk_prep.explain import Explanation, codes

INTRO = """\
# Error codes

Written from `dnndk_prep/explain/codes.yaml` by `tests/errors_page.py`; `dnndk-prep explain CODE` prints the same.

Every error that a command prints ends with its code. A code keeps its meaning; those from K2D-0901 on are general ones,
one for each exit code, for errors whose message says all there is to say.
"""


def page() -> str:
    """The whole page, Markdown."""
    rows = [f"| [{one.code}](#{_anchor(one)}) | {one.title} |" for one in codes().values()]
    table = "\n".join(["| code | what is wrong |", "|---|---|", *rows])
    return "\n".join([INTRO, table, "", *map(_entry, codes().values())])


def _entry(one: Explanation) -> str:
    parts = [f"## {one.code}: {one.title}", f"Cause: {one.cause}"]
    parts += [f"What dnndk-prep does: {one.handled}"] if one.handled else []
    return "\n\n".join([*parts, f"What to do: {one.remedy}", f"```text\n{one.example}\n```\n"])


def _anchor(one: Explanation) -> str:
    kept = (sign for sign in f"{one.code}: {one.title}".lower() if sign.isalnum() or sign in " -_")
    return "".join(kept).replace(" ", "-")
