"""Every error a user can meet, each with its exit code.

    DnndkPrepError            1  a bug of ours, when raised bare
    ├── UsageError            2  the command line or the YAML
    ├── ModelFileError        3  the model file, the dataset or another input file
    ├── StageError            4  a stage cannot do its work
    ├── NumericsError         5  numbers differ where they must not
    ├── UnsafeFileError       6  a file is refused as unsafe
    └── TargetError           7  the target cannot run it

An error says what is wrong, what was expected, what was found and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DnndkPrepError(Exception):
    """What is wrong in one sentence, and the three facts that help to mend it."""

    exit_code = 1

    def __init__(
        self,
        problem: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem, self.expected, self.found, self.remedy = problem, expected, found, remedy
        lines = [problem]
        for label, text in (("expected", expected), ("found", found), ("do", remedy)):
            if text is not None:
                lines.append(f"  {label + ':':<10}{text}")
        super().__init__("\n".join(lines))


class UsageError(DnndkPrepError):
    """The command line or the YAML is wrong."""

    exit_code = 2


class ModelFileError(DnndkPrepError):
    """A model file, a dataset or another file that the user gave cannot be used."""

    exit_code = 3


class StageError(DnndkPrepError):
    """A stage cannot do its work."""

    exit_code = 4


class NumericsError(DnndkPrepError):
    """A graph gives other numbers than the model it came from."""

    exit_code = 5


class UnsafeFileError(DnndkPrepError):
    """A file is refused because opening it could run code or read other files."""

    exit_code = 6


class TargetError(DnndkPrepError):
    """The target cannot run the model, and the user asked to fail on that."""

    exit_code = 7


def unknown_name(problem: str, name: str, known: Iterable[str]) -> UsageError:
    """The error of a name that is none of `known`: these, and the nearest of them."""
    names = list(known)
    near = nearest(name.lower(), names) or nearest(name, names)
    return UsageError(
        problem,
        expected=f"one of {', '.join(names)}",
        found=name,
        remedy=f"did you mean {' or '.join(near)}?" if near else "choose one of these",
    )


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The names most like `name`, best first: what the user may have meant."""
    return difflib.get_close_matches(name, list(known), n=limit, cutoff=0.5)
