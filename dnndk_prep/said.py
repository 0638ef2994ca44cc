"""What TensorFlow, Keras and NumPy say of an error, in the one line that tells what is wrong."""

from __future__ import annotations

import re
import tokenize
import zipfile
import zlib

# What NumPy raises for a file that is no array or archive of arrays, is cut short or damaged, or holds Python objects.
# It reads the header of an array as a piece of Python.
NO_ARRAYS = (
    *(OSError, ValueError, EOFError, KeyError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
    *(OverflowError, MemoryError, RuntimeError),
)
# How an error of a graph begins, and what stands in the line that tells the node.
GRAPH_ERROR = "Graph execution error:"
NODE = "{{node"
# How an error of a function that TensorFlow rewrote begins, and the line that tells it.
USER_CODE = "in user code:"
RAISED = re.compile(r"\w*(Error|Exception): (.+)")


def first_line(error: BaseException) -> str:
    """What a foreign error says, in one line."""
    return gist(str(error)) or type(error).__name__


def gist(text: str) -> str:
    """The line of a foreign error that tells what is wrong; empty if none does."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    if lines[0].startswith(USER_CODE):
        # The reason stands after the places in the program, and before the arguments of the call.
        raised = [found[2] for line in lines if (found := RAISED.fullmatch(line))]
        return (raised[-1] if raised else lines[-1])[:300]
    if lines[0] != GRAPH_ERROR:
        return lines[0][:300]
    # What TensorFlow found stands before the node's name, after the places in the program that led there.
    place = next((number for number, line in enumerate(lines) if NODE in line), 1)
    line = lines[place].partition("[[")[0].strip() if place < len(lines) else ""
    return (line or (lines[place - 1] if place > 1 else ""))[:300]
