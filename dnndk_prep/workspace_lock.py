"""Whether a run may write into a workspace: its lock, and what keeps its writing inside it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TextIO

from dnndk_prep.errors import UsageError


def take(handle: TextIO, root: Path, how: int) -> None:
    """Lock the open lock file of the workspace `root`; the system gives it back when the process ends, however it ends.

    how: fcntl.LOCK_EX or LOCK_SH. Raises UsageError where another run holds it.
    """
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle.seek(0)
        raise UsageError(
            "another run holds this workspace",
            expected="one run a workspace at a time",
            found=f"{_process(handle.read().strip())} in {root}",
            remedy="wait for it, or give another workspace with --workspace DIR",
            code="K2D-0029",
        ) from error
    except OSError as error:
        raise not_writable(root, error) from error


def not_writable(root: Path, error: OSError) -> UsageError:
    """The error for a workspace that the system does not let us write."""
    return UsageError(
        "the workspace cannot be written",
        expected="a folder that this user may write, with room on its disk",
        found=f"{root}: {error.strerror}",
        remedy="mend that, or give another with --workspace DIR",
    )


def require_no_link(path: Path) -> None:
    """Raises UsageError for a link in a workspace: what it leads to is no part of it, and may be somebody's."""
    if path.is_symlink():
        raise UsageError(
            f"{path} is a link, and a run would write where it leads",
            expected="a file or folder of the workspace's own",
            found=f"a link to {path.readlink()}",
            remedy="take the link away; the workspace as a whole may be a link, or lie anywhere with --workspace DIR",
        )


def require_text(root: Path) -> None:
    """Raises UsageError for a path that is no UTF-8: TensorFlow takes no other."""
    try:
        str(root.absolute()).encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            "the workspace's path is no text",
            expected="a path in UTF-8, which TensorFlow can open",
            found=str(os.fsencode(root.absolute())),
            remedy="rename the folder, or give another workspace with --workspace DIR",
        ) from error


def _process(number: str) -> str:
    """Who holds the lock: the process that wrote its number, unless that one is gone."""
    try:
        os.kill(int(number), 0)
    except PermissionError:
        pass
    except (ValueError, OverflowError, OSError):
        return "a process that does not tell its number"
    return f"process {number}"
