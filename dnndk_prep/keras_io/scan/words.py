"""Names and texts of a stranger: how they are shown, what they are called, and whether they are code."""

from __future__ import annotations

import base64
import binascii
from typing import Any


def bare(name: str) -> str:
    """A class's own name: Keras writes one that was registered as `package>Class`."""
    return name.rpartition(">")[2]


def is_of_keras(module: str | None) -> bool:
    """Whether a module is one of Keras' own."""
    return module is not None and module.partition(".")[0] in ("keras", "tf_keras")


def names_of(group: Any, attribute: str) -> list[str]:
    """The names in an attribute of an HDF5 group, of layers or of weights.

    Keras spreads a list that does not fit into one over attribute0, attribute1, ...
    """
    keys = [attribute] if attribute in group.attrs else []
    while f"{attribute}{len(keys)}" in group.attrs and keys != [attribute]:
        keys.append(f"{attribute}{len(keys)}")
    values: list[Any] = []
    for key in keys:
        value = group.attrs[key]
        value = value.tolist() if hasattr(value, "tolist") else value
        values += value if isinstance(value, list) else [value]
    return [value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value) for value in values]


def shown(value: Any, length: int = 100) -> str:
    """A stranger's text in a message: one line, no control characters, not longer than `length`."""
    text = (value if isinstance(value, str) else repr(value))[:length]
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)


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
