"""Figures for the tests of this folder, and the marks that tell the whole numbers from the samples."""

from __future__ import annotations

import pytest
from figures import Figures, counting


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """`with figures(part, what) as row:`, see figures.py."""
    return counting(request.path.stem.removeprefix("test_"), request.node.get_closest_marker("faults") is not None)
