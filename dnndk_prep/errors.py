"""Every error a user can meet, each with its exit code and the code that `dnndk-prep explain` takes.

    DnndkPrepError            1  a bug of ours, when raised bare
    ├── UsageError            2  the command line or the YAML
    ├── ModelFileError        3  the model file, the dataset or another input file
    ├── StageError            4  a stage cannot do its work
    ├── NumericsError         5  numbers differ where they must not
    ├── UnsafeFileError       6  a file is refused as unsafe
    └── TargetError           7  the target cannot run it

An error says what is wrong, what was expected, what was found and what to do. Its code stands for the cause:
`K2D-0001` and on where explain/codes.yaml has one of its own, else the code of its class, which ends in the exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Names of files may hold what makes a terminal do things: all control characters but the end of a line.
_VISIBLE = {number: f"\\x{number:02x}" for number in (*range(10), *range(11, 32), *range(127, 160))}


class DnndkPrepError(Exception):
    """What is wrong in one sentence, and the three facts that help to mend it."""

    exit_code = 1
    general_code = "K2D-0901"

    def __init__(
        self,
        problem: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        remedy: str | None = None,
        code: str | None = None,
    ) -> None:
        self.problem, self.expected, self.found, self.remedy = problem, expected, found, remedy
        self.code = code or self.general_code
        facts = (("expected", expected), ("found", found), ("do", remedy))
        super().__init__("\n".join([problem, *(_fact(label, text) for label, text in facts if text is not None)]))

    def for_terminal(self) -> str:
        """The message as a command prints it, with the command that tells more."""
        return f"error: {self}\n{_fact('more', f'dnndk-prep explain {self.code}')}".translate(_VISIBLE)


class UsageError(DnndkPrepError):
    """The command line or the YAML is wrong."""

    exit_code = 2
    general_code = "K2D-0902"


class ModelFileError(DnndkPrepError):
    """A model file, a dataset or another file that the user gave cannot be used."""

    exit_code = 3
    general_code = "K2D-0903"


class StageError(DnndkPrepError):
    """A stage cannot do its work."""

    exit_code = 4
    general_code = "K2D-0904"


class NumericsError(DnndkPrepError):
    """A graph gives other numbers than the model it came from."""

    exit_code = 5
    general_code = "K2D-0905"


class UnsafeFileError(DnndkPrepError):
    """A file is refused because opening it could run code or read other files."""

    exit_code = 6
    general_code = "K2D-0906"


class TargetError(DnndkPrepError):
    """The target cannot run the model, and the user asked to fail on that."""

    exit_code = 7
    general_code = "K2D-0907"


def _fact(label: str, text: str) -> str:
    return f"  {label + ':':<10}{text}"


def unknown_name(problem: str, name: str, known: Iterable[str], code: str = "K2D-0028") -> UsageError:
    """The error of a name that is none of `known`: these, and the nearest of them."""
    names = list(known)
    near = nearest(name.lower(), names) or nearest(name, names)
    return UsageError(
        problem,
        expected=f"one of {', '.join(names)}",
        found=name,
        remedy=f"did you mean {' or '.join(near)}?" if near else "choose one of these",
        code=code,
    )


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The names most like `name`, best first: what the user may have meant."""
    return difflib.get_close_matches(name, list(known), n=limit, cutoff=0.5)
