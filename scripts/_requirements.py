"""Compare the environment of the running Python with pyproject.toml.

python _requirements.py key            the digest of all that a set-up is made from
python _requirements.py unmet run|dev  what is missing, one line each; exit code 1 where anything is
"""

from __future__ import annotations

import hashlib
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent


def key() -> str:
    """The digest of pyproject.toml, environment.yml and the Python version."""
    parts = [(CHECKOUT / name).read_bytes() for name in ("pyproject.toml", "environment.yml")]
    return hashlib.sha256(b"\0".join([*parts, sys.version.encode()])).hexdigest()


def unmet(wanted: str) -> list[str]:
    """One line for each requirement of the project (and, unless `wanted` is "run", of that extra) that is not met."""
    project: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = project["dependencies"] + ([] if wanted == "run" else project["optional-dependencies"][wanted])
    return [line for need in needs if (line := _problem(need))]


def _problem(need: str) -> str | None:
    name = re.split(r"[^A-Za-z0-9._-]", need, maxsplit=1)[0]
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"  {need}: not installed"
    try:
        # TensorFlow requires it, so an environment that lacks it has been named above.
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        return f"  {need}: version {found} cannot be compared without the package `packaging`"
    return None if Requirement(need).specifier.contains(found, prereleases=True) else f"  {need}: found {found}"


def main(words: list[str]) -> int:
    """Run one of the two commands."""
    if words == ["key"]:
        print(key())
        return 0
    command, wanted = words
    if command != "unmet":
        sys.exit(__doc__)
    lines = unmet(wanted)
    print("\n".join(lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
