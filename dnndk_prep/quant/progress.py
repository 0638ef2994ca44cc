"""A bar with the time left on a terminal, for what takes minutes; nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def bar(items: Iterable[T], what: str, total: int, unit: str = "batch") -> Iterator[T]:
    """The items, and on a terminal how many of `total` are done and how long the others will take."""
    yield from tqdm(items, what, total, unit=unit, disable=not sys.stderr.isatty(), leave=False, file=sys.stderr)
