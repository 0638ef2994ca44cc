"""Bytes that are walked over: what is no message is refused."""

from __future__ import annotations

import pytest

from dnndk_prep.wire import fields


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05ab", b"\x0b", b"\xff" * 11])
def test_bytes_that_are_no_message_are_refused(data):
    with pytest.raises(ValueError, match=r"at byte|beyond its message"):
        list(fields(data, 0, len(data)))
