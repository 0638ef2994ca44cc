"""Keeps what TensorFlow and Keras say of themselves off the terminal, unless it is asked for."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Written by C++ while the library loads, before any log level counts: that there is no GPU, and that logging starts.
NOISE = re.compile(
    rb"absl::InitializeLog|cudart_stub\.cc|cuda_platform\.cc|computation_placer\.cc|cpu_feature_guard\.cc"
)
LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_EVERYTHING, _ERRORS = "0", "3"


def be_verbose() -> None:
    """From now on everything goes to standard error as the libraries write it."""
    os.environ[LEVEL] = _EVERYTHING


@contextmanager
def quiet_start() -> Iterator[None]:
    """Hold what is written to standard error; afterwards write it, without the lines of NOISE."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if os.environ.setdefault(LEVEL, _ERRORS) == _EVERYTHING:
        yield
        return
    # It takes longer to import than all else here, which every command imports.
    import tempfile

    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not NOISE.search(line):
                    os.write(2, line)


@contextmanager
def noise_into(file: int) -> Iterator[None]:
    """Lead standard error, of this process and of those that it starts, into the open `file`: all of it."""
    level = os.environ.get(LEVEL)
    os.environ[LEVEL] = _EVERYTHING
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(file, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        if level is None:
            del os.environ[LEVEL]
        else:
            os.environ[LEVEL] = level
