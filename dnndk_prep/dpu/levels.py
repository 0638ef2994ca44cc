"""Which operator registry serves which TensorFlow release: pure names and numbers, for whoever only checks a YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dnndk_prep.errors import UsageError

# The releases whose operator registries are here, with the version that each writes into its graphs
# (tf.GRAPH_DEF_VERSION), oldest first.
PRODUCERS: Mapping[str, int] = {"1.9": 26, "1.12": 27, "1.15": 134}


def level_of(reader: str) -> str:
    """The registry that a graph for TensorFlow `reader` ("1.12", "1.13", "2.8") is written by.

    The newest that is not newer than the reader: TensorFlow reads what any earlier release wrote, so 1.13 gets the
    graphs of 1.12, and everything from 1.15 on those of 1.15. Raises UsageError for what is no release, or one before
    the oldest.
    """
    found = [name for name in PRODUCERS if _numbers(name) <= _numbers(reader)]
    if not found:
        raise UsageError(
            f"no graph can be written for TensorFlow {reader}",
            expected=f"{next(iter(PRODUCERS))} or later",
            found=reader,
            remedy=f'set graph.reader: "{next(iter(PRODUCERS))}"',
        )
    return found[-1]


def _numbers(release: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})(\.\d{1,4})?", release)
    if match is None:
        raise UsageError(
            f"graph.reader: {release!r} is no release of TensorFlow",
            expected='a string of two numbers, "1.9", "1.15" or "2.8"',
            found=release,
            remedy='write it in quotes: graph.reader: "1.9"',
        )
    return int(match[1]), int(match[2])
