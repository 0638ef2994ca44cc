"""What all tests share: Pythons of other years."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from environments import REQUIRED, NotHereError, python_of


@pytest.fixture(scope="session")
def old_python() -> Callable[[str], Path]:
    """`old_python(name)` is the Python of an environment of environments.toml.

    Where it cannot be had the test is skipped with the reason, unless DNNDK_PREP_REQUIRE_READERS makes that a failure.
    """

    def find(name: str) -> Path:
        try:
            return python_of(name)
        except NotHereError as error:
            if os.environ.get(REQUIRED):
                pytest.fail(f"{REQUIRED} is set, and {error}")
            pytest.skip(str(error))

    return find


def pytest_configure() -> None:
    """A job in the background of a shell ignores Ctrl-C, and so would all that the tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
