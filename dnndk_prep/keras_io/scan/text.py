"""JSON of a stranger as plain data: limits on size, depth and number of values, and no key twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dnndk_prep.errors import ModelFileError, UnsafeFileError

# Far above any architecture: NASNetLarge has 2 MB, 100 000 values and 12 levels.
MAX_BYTES = 8 * 2**20
MAX_VALUES = 400_000
MAX_DEPTH = 128
# Of NASNetLarge, as Keras 3 writes it, some 20 000.
MAX_OBJECTS = 60_000
# More than any float has. To read a number takes the square of its length.
MAX_DIGITS = 400
JSON_REMEDY = "write it again: open('model.json', 'w').write(model.to_json())"


def parse_json(text: str | bytes, file: str) -> Any:
    """The data in `text`, which stands in `file`.

    Raises ModelFileError if it is no JSON, and UnsafeFileError for JSON that is made to harm: far larger or deeper than
    any architecture, or with a key twice in one object, which two readers may read differently.
    """
    if len(text) > MAX_BYTES:
        raise too_large(file, f"{len(text)} bytes")
    # Before anything is made of it: there is a comma between any two values.
    if (text.count(",") if isinstance(text, str) else text.count(b",")) > MAX_VALUES:
        raise too_large(file, f"more than {MAX_VALUES} values")
    if (text.count("{") if isinstance(text, str) else text.count(b"{")) > MAX_OBJECTS:
        raise too_large(file, f"more than {MAX_OBJECTS} objects")
    try:
        data = json.loads(text, object_pairs_hook=_dict, parse_int=_whole_number)
    except _LongNumberError as error:
        raise too_large(file, f"a whole number of {error} digits") from error
    except _TwiceError as error:
        raise UnsafeFileError(
            f"{file} says something twice", expected="every key once", found=f"{error} twice", remedy=JSON_REMEDY
        ) from error
    except RecursionError as error:
        raise too_large(file, f"more than {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise ModelFileError(
            f"{file} is not an architecture",
            expected="JSON as model.to_json() writes it",
            found=f"no JSON: {error}",
            remedy=JSON_REMEDY,
        ) from error
    _check(data, file)
    return data


def too_large(file: str, found: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"{file} is larger than any architecture",
        expected=f"at most {MAX_BYTES} bytes, {MAX_VALUES} values, {MAX_OBJECTS} objects and {MAX_DEPTH} levels",
        found=found,
        remedy="save the model again",
    )


class _TwiceError(ValueError):
    """A key stands twice in one object."""


class _LongNumberError(ValueError):
    """A number has more than MAX_DIGITS digits; the text is how many."""


def _whole_number(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _LongNumberError(len(text))
    return int(text)


def _dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise _TwiceError(ascii(first_twice([key for key, _ in pairs])[:80]))
    return data


def first_twice(names: Sequence[str]) -> str:
    """The first of `names` that was there before; "" if none was."""
    # A dict keeps the first of each in order: up to the one that is there again, both are the same.
    once = dict.fromkeys(names)
    if len(once) == len(names):
        return ""
    return next((name for name, first in zip(names, once, strict=False) if name != first), names[len(once)])


def _check(data: Any, file: str) -> None:
    """Level by level, not by recursion: the depth is what is to be found out."""
    level, values = [data], 0
    for _ in range(MAX_DEPTH):
        if not level:
            return
        values += len(level)
        if values > MAX_VALUES:
            raise too_large(file, f"more than {MAX_VALUES} values")
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item)
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, str) and not item.isascii():
                _check_text(item, file)
        level = inner
    raise too_large(file, f"more than {MAX_DEPTH} levels")


def _check_text(text: str, file: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ModelFileError(
            f"{file} is not an architecture",
            expected="text of whole characters",
            found=f"half a character: {text[:40]!a}",
            remedy=JSON_REMEDY,
        ) from error
