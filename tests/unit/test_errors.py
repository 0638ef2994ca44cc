"""Errors as a terminal shows them."""

from dnndk_prep.errors import UsageError


def test_errors_show_control_characters():
    """A name of a file cannot give orders to the terminal."""
    text = UsageError("a \x1b]0;title\x07 b", found="c\nd\x9b").for_terminal()
    assert r"a \x1b]0;title\x07 b" in text
    assert "\x1b" not in text
    assert "\x9b" not in text
