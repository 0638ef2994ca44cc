"""What the codes of errors stand for: cause, remedy and an example of each, as data (codes.yaml)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources

import yaml

from dnndk_prep.errors import UsageError, nearest


@dataclass(frozen=True)
class Explanation:
    """One code. handled: what dnndk-prep does by itself where others stop, "" where nothing can be done unasked."""

    code: str
    title: str
    cause: str
    remedy: str
    example: str
    handled: str = ""

    def as_dict(self) -> dict[str, str]:
        """The parts as plain values, for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """The explanation as lines for people."""
        parts = [("Cause", self.cause), ("What dnndk-prep does", self.handled), ("What to do", self.remedy)]
        text = "\n\n".join(f"{head}\n{_indented(body)}" for head, body in (*parts, ("Example", self.example)) if body)
        return f"{self.code}: {self.title}\n\n{text}"


@cache
def codes() -> dict[str, Explanation]:
    """Every code in the order of their numbers."""
    text = resources.files(__package__).joinpath("codes.yaml").read_text(encoding="utf-8")
    # libyaml reads it in a tenth of the time; not every PyYAML is built with it.
    data = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {code: Explanation(code, **{key: words.strip() for key, words in row.items()}) for code, row in data.items()}


def explanation(code: str) -> Explanation:
    """The explanation of `code`, in any case; its number alone does, too.

    Raises UsageError with the nearest codes, and those whose title is like it, where there is none such.
    """
    digits = code.upper().removeprefix("K2D").lstrip("-")
    name = f"K2D-{digits:0>4}" if digits.isdecimal() else code.upper()
    if name in codes():
        return codes()[name]
    titles = {one.title.lower(): one.code for one in codes().values()}
    near = nearest(name, codes()) if digits.isdecimal() else [titles[title] for title in nearest(code.lower(), titles)]
    raise UsageError(
        f"there is no error code {code!r}",
        expected="a code such as K2D-0007; `dnndk-prep explain` lists all",
        found=code,
        remedy=f"did you mean {' or '.join(near)}?" if near else "choose one of the list",
        code="K2D-0028",
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
