"""Files of others that must be small: read whole, or refused."""

from __future__ import annotations

from pathlib import Path

from dnndk_prep.errors import ModelFileError


def read_small(path: Path, limit: int, expected: str, remedy: str) -> bytes:
    """The file's bytes. Raises ModelFileError, with `expected` and `remedy`, if unreadable or beyond `limit` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read", expected=expected, found=error.strerror, remedy=remedy) from None
    if len(data) > limit:
        raise ModelFileError(
            f"{path} is too large", expected=f"{expected}, at most {limit >> 10} KiB", found="more", remedy=remedy
        )
    return data
