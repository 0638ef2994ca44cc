"""Hashes: of a user's files, by which a change is known, of those in a stage's folder, and of values."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dnndk_prep.errors import ModelFileError

# What stands in the place of a hash that cannot be had; no hash begins like this.
UNREADABLE = "cannot be read: "


def sha256_file(path: Path) -> str:
    """The hash of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_values(content: Mapping[str, Any]) -> str:
    """The hash of values as JSON, whatever the order of their names."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sha256_outside(path: Path, key: str, workspace: Path) -> str:
    """The hash of a user's file, or of a folder's relative names and contents but for a workspace in it.

    Raises ModelFileError if there is no such file, or it cannot be read; `key` is the YAML key that named it.
    """
    try:
        if not path.is_dir():
            if path.exists() and not path.is_file():
                raise OSError(f"{path} is a pipe or a device")  # To read one would wait for ever.
            return sha256_file(path)
        total = hashlib.sha256()
        for file in _outside_files(path, workspace):
            name = os.fsencode(file.relative_to(path).as_posix())
            total.update(len(name).to_bytes(8) + name + sha256_file(file).encode())
        return total.hexdigest()
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{key}: there is no such file or folder",
            expected="a file or folder that exists",
            found=error.filename or str(path),
            remedy=f"correct {key}; a path in the YAML is relative to the YAML's folder",
            code="K2D-0031",
        ) from error
    except OSError as error:
        raise ModelFileError(
            f"{key}: it cannot be read",
            expected="plain files that this user may read, on a disk that works",
            found=str(error),
            remedy="correct their rights, or copy them to another place",
            code="K2D-0031",
        ) from error


def state_outside(path: Path, workspace: Path) -> str:
    """A hash of what changes when a user's file or folder is written to, without reading it.

    The time of the last change of an inode cannot be set, unlike that of its content. Raises OSError.
    """
    files = _outside_files(path, workspace) if path.is_dir() else [path]
    facts = ((str(file), file.stat()) for file in files)
    told = [(name, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns) for name, found in facts]
    return hashlib.sha256(repr(told).encode("utf-8", "surrogateescape")).hexdigest()


def hash_or_reason(path: Path) -> str:
    """The hash of a file that a stage wrote, or UNREADABLE and why there is none."""
    try:
        # No stage writes a link, and to open a pipe would wait for ever.
        return sha256_file(path) if stat.S_ISREG(path.lstat().st_mode) else f"{UNREADABLE}it is no plain file"
    except OSError as error:
        return f"{UNREADABLE}{error.strerror}"


def _outside_files(folder: Path, workspace: Path) -> list[Path]:
    """A user's files, those behind links among them, in a fixed order. Raises OSError for a folder that is closed."""
    # Data and workspace may lie in one folder, which the run itself writes to.
    ours = frozenset({os.path.realpath(workspace)})
    return sorted(path for path in walk(folder, follow=True, closed=ours) if path.is_file())


def walk(folder: Path, follow: bool = False, closed: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Everything below that is no folder; a link to a folder is one of these unless links are to be followed.

    A link that leads back to a folder above it is not; no folder in `closed` (real paths) is entered.
    """
    closed |= {os.path.realpath(folder)}
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if not entry.is_dir(follow_symlinks=follow):
                yield path
            elif os.path.realpath(path) not in closed:
                yield from walk(path, follow, closed)
