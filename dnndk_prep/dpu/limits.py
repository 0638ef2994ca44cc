"""The kinds of limits that a DPU sets: whole numbers in ranges, memory banks, windows that move over an image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """The whole numbers that are allowed, as ranges with both ends in: `1-8`, or `1 3 5-7`."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> Span:
        """Read `1-8`, `3`, `1-3 7`. Raises ValueError for anything else."""
        found = []
        for word in text.split():
            match = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
            if match is None:
                raise ValueError(f"{word!r} is no range of whole numbers")
            found.append((int(match[1]), int(match[2] or match[1])))
        if not found:
            raise ValueError("no range of whole numbers")
        return cls(tuple(found))

    def __contains__(self, value: int) -> bool:
        return any(low <= value <= high for low, high in self.ranges)

    def __iter__(self) -> Iterator[int]:
        for low, high in self.ranges:
            yield from range(low, high + 1)

    def __str__(self) -> str:
        return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in self.ranges)

    @property
    def low(self) -> int:
        """The smallest number allowed."""
        return self.ranges[0][0]

    @property
    def high(self) -> int:
        """The largest number allowed."""
        return self.ranges[-1][1]


@dataclass(frozen=True)
class Bank:
    """A group of on-chip memory banks; `width` in channels (bytes at 8 bits), `depth` in words of that width."""

    name: str
    banks: int
    width: int
    depth: int

    @classmethod
    def parse(cls, text: str) -> Bank:
        """Read `VB0:8x16x2048`, name and banks x width x depth. Raises ValueError for anything else."""
        match = re.fullmatch(r"(\w+):(\d+)x(\d+)x(\d+)", text)
        if match is None:
            raise ValueError(f"{text!r} is no memory bank")
        return cls(match[1], int(match[2]), int(match[3]), int(match[4]))

    def __str__(self) -> str:
        return f"{self.name} {self.banks} x {self.width} x {self.depth}"


@dataclass(frozen=True)
class Window:
    """What one operator with a moving window (convolution, pooling) may be.

    `kernel` and `stride` hold for height and width each; `stride_out_h` is the step between output rows that the
    engine computes at once, and no limit of the operator. `pad_before` is left and top, `pad_after` right and bottom,
    both None where the pad goes up to kernel - 1. `nonlinear` are the activations that the engine applies to its
    result: relu, leaky_relu, relu_six, prelu, hsigmoid, hswish. `parallel` is how many pixels it makes a cycle.
    """

    kernel: Span
    stride: Span
    stride_out_h: Span | None = None
    nonlinear: tuple[str, ...] = ()
    parallel: int | None = None
    pad_before: Span | None = None
    pad_after: Span | None = None
    # Kernels have to be as high as wide.
    square: bool = False
