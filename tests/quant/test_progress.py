"""The bar of what takes long: on a terminal alone."""

from __future__ import annotations

import io
import sys

import pytest

from dnndk_prep.quant.progress import bar


@pytest.mark.parametrize("is_terminal", [True, False])
def test_bar(is_terminal: bool, monkeypatch: pytest.MonkeyPatch):
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: is_terminal, raising=False)
    monkeypatch.setattr(sys, "stderr", shown)
    assert list(bar(iter("abc"), "calibration", 3)) == ["a", "b", "c"]
    if is_terminal:
        # How many of how many, and the time gone and left.
        assert "calibration" in shown.getvalue()
        assert "0/3 [00:00<" in shown.getvalue()
    else:
        assert not shown.getvalue()
