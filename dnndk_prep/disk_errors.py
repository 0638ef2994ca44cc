"""Errors of the disk, whoever tells them: Python, TensorFlow, HDF5 and protobuf each have words of their own."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from dnndk_prep.errors import DnndkPrepError, StageError
from dnndk_prep.said import first_line

# What a disk, a mount or the rights of a folder answer with. Libraries pass on the system's words, not its number.
NUMBERS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENODEV, errno.EMFILE, errno.ENFILE),
)
WORDS = tuple(os.strerror(number) for number in NUMBERS)


def reason(error: BaseException) -> str | None:
    """What the disk said, in one line, if it is behind `error`; None if it is something else."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        words = [word for word in WORDS if word in str(found)]
        if words or isinstance(found, OSError):
            line = first_line(found)
            # HDF5 tells the cause in a later line than the first.
            return line if not words or words[0] in line else f"{words[0]}: {line}"
        seen.add(id(found))
        found = found.__cause__ or found.__context__
    return None


@contextmanager
def told(who: str) -> Iterator[None]:
    """Raises StageError in the place of what a disk is behind; `who` could not read or write."""
    try:
        yield
    except DnndkPrepError:
        raise
    except Exception as error:
        found = reason(error)
        if found is None:
            raise
        raise StageError(
            f"{who} cannot read or write a file",
            expected="a readable file, a writable workspace and room on the disk",
            found=found,
            remedy="mend that and run again; the artifacts of the last good run are untouched",
            code="K2D-0034",
        ) from error
