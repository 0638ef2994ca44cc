"""The hash of the code behind a module: of its file, of all of the package that it imports, and of their data files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
# The package's own imports, wherever they stand; the formatter knows these two forms alone.
_FROM = re.compile(r"^\s*from (dnndk_prep[\w.]*) import (?:\(([^)]*)\)|(.*))$", re.MULTILINE)
_IMPORT = re.compile(r"^\s*import (dnndk_prep[\w.]*)", re.MULTILINE)


def code_version(module: str) -> str:
    """The hash of all that decides what `module` does, in hexadecimal; the same wherever the package lies.

    A data file (a template, a table) counts for every module of its folder.
    """
    total = hashlib.sha256()
    for path in sorted({file for name in imported_by(module) for file in _files(name)}):
        total.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + _hash(path))
    return total.hexdigest()


def imported_by(module: str) -> set[str]:
    """`module` and every module of the package that it imports, directly or not."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found and _path(name) is not None:
            found.add(name)
            waiting += _imports(name)
    return found


@cache
def _imports(module: str) -> tuple[str, ...]:
    path = _path(module)
    text = path.read_text(encoding="utf-8") if path else ""
    names = _IMPORT.findall(text)
    for package, several, one in _FROM.findall(text):
        members = re.findall(r"(\w+)(?: as \w+)?", re.sub(r"#.*", "", several or one))
        names += [package, *(f"{package}.{member}" for member in members)]
    # Importing a module runs its packages, too.
    parents = {name.rpartition(".")[0] for name in [*names, module] if "." in name}
    return (*names, *parents)


def _path(module: str) -> Path | None:
    plain = _PACKAGE.joinpath(*module.split(".")[1:])
    return next((path for path in (plain.with_suffix(".py"), plain / "__init__.py") if path.is_file()), None)


def _files(module: str) -> Iterator[Path]:
    path = _path(module)
    if path is not None:
        yield path
        yield from _data_files(path.parent)


@cache
def _data_files(folder: Path) -> tuple[Path, ...]:
    """The files beside the code, in folders of their own, too."""
    here = tuple(path for path in folder.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc", ".pyi"))
    inner = [path for path in folder.iterdir() if path.is_dir() and not (path / "__init__.py").exists()]
    return here + tuple(file for path in inner if path.name != "__pycache__" for file in _data_files(path))


@cache
def _hash(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
