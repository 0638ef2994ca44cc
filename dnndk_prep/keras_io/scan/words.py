"""Names and texts of a stranger: how they are shown, what they are called, and whether they are code."""

from __future__ import annotations

import base64
import binascii
from typing import Any


def bare(name: str) -> str:
    """A class's own name: Keras writes one that was registered as `package>Class`."""
    return name.rpartition(">")[2]


def shown(value: Any, length: int = 100) -> str:
    """A stranger's text in a message: one line, no control characters, not longer than `length`."""
    text = value if isinstance(value, str) else repr(value)
    return "".join(sign if sign.isprintable() else "?" for sign in text[:length])


def is_marshalled(text: str) -> bool:
    """Whether `text` is a marshalled code object: as base64 (Keras 2 and 3) or byte for byte (Keras 1).

    It begins with "c", in newer Pythons with a bit set, and the number of arguments in four bytes.
    """
    if len(text) < 32 or text[:1] not in ("4", "Y", "c", "\xe3"):
        return False
    try:
        head = base64.b64decode("".join(text[:64].split())[:24], validate=True)
    except (binascii.Error, ValueError):
        head = text[:5].encode("latin-1", errors="replace")
    return head[:1] in (b"c", b"\xe3") and head[2:5] == b"\0\0\0"
