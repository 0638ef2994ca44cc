"""Sizes and paddings of what slides a window over an image: convolutions and pools."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dnndk_prep.check.network import Op

Padding = str | tuple[int, int]
CHANNELS_FIRST = ("NCHW", "NCDHW")


def spatial(op: Op, rank: int) -> list[int]:
    """The axes that the window slides along."""
    first = 2 if op.attrs.get("data_format") in CHANNELS_FIRST else 1
    return list(range(first, first + rank - 2))


def padding_of(op: Op, axis: int) -> Padding:
    """`SAME`, `VALID`, or the zeros before and behind that an EXPLICIT padding gives for the axis."""
    if op.attrs.get("padding") == "EXPLICIT":
        sides = op.attrs["explicit_paddings"]
        return int(sides[2 * axis]), int(sides[2 * axis + 1])
    return str(op.attrs.get("padding", "VALID"))


def full_size(window: int | None, dilation: int) -> int | None:
    """How far a dilated window reaches."""
    return None if window is None else (window - 1) * dilation + 1


def output_size(size: int | None, window: int | None, stride: int, padding: Padding) -> int | None:
    """The size of the result along one axis; `window` is dilated already."""
    if size is None:
        return None
    if padding == "SAME":
        return -(-size // stride)
    before, behind = zeros(size, window, stride, padding) if isinstance(padding, tuple) else (0, 0)
    return None if window is None else (size + before + behind - window) // stride + 1


def zeros(size: int | None, window: int | None, stride: int, padding: Padding) -> tuple[int, int]:
    """The zeros that are put before and behind; where the size is free, those of the largest padding."""
    if isinstance(padding, tuple):
        return padding
    if padding != "SAME" or window is None:
        return 0, 0
    out = None if size is None else -(-size // stride)
    total = window - 1 if out is None or size is None else max(0, (out - 1) * stride + window - size)
    return total // 2, total - total // 2
