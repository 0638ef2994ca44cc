"""Keeps TensorFlow's start-up lines off the terminal."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Written by C++ while the library loads, before any log level counts: that there is no GPU, and that logging starts.
NOISE = re.compile(
    rb"absl::InitializeLog|cudart_stub\.cc|cuda_platform\.cc|computation_placer\.cc|cpu_feature_guard\.cc"
)


@contextmanager
def quiet_start() -> Iterator[None]:
    """Hold what is written to standard error; afterwards write it, without the lines of NOISE."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
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
