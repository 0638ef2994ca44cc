"""The graph as boxes and lines in pixels, ready for SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dnndk_prep.report.layout import layered, numbered

WIDTH, HEIGHT, MARGIN = 216, 24, 12
# Between two layers, where all edges go straight down, and where some do not.
NEAR, FAR = 10, 26
# Characters of a name that fit into a box.
LETTERS = 29


@dataclass(frozen=True)
class Box:
    """One node: its number among the report's nodes, its upper left corner, and its text."""

    index: int
    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Drawing:
    """width, height: in pixels; paths: the `d` of each line."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]


def draw(nodes: Sequence[Mapping[str, Any]]) -> Drawing:
    """The drawing of the report's nodes."""
    names = [node["name"] for node in nodes]
    edges = numbered(names, {node["name"]: node["inputs"] for node in nodes})
    made = layered(len(names), edges)
    left = min(made.x, default=0.0)
    tops = _tops(max(made.layer, default=-1) + 1, made.routes)

    def middle(x: float) -> float:
        return round(MARGIN + WIDTH / 2 + (x - left) * WIDTH, 1)

    boxes = tuple(
        Box(i, middle(x) - WIDTH / 2, tops[layer], shortened(name))
        for i, (name, x, layer) in enumerate(zip(names, made.x, made.layer, strict=True))
    )
    paths = tuple(_path([(middle(x), tops[layer]) for x, layer in route]) for route in made.routes)
    # A line's bends may lie outside all boxes.
    right = max((middle(x) for route in made.routes for x, _ in route), default=0.0)
    width = max([right, *(box.x + WIDTH for box in boxes)]) + MARGIN
    return Drawing(round(width), (tops[-1] if tops else 0) + HEIGHT + MARGIN, boxes, paths)


def shortened(name: str) -> str:
    """A name that fits: its middle is left out, since both its ends tell it from others."""
    if len(name) <= LETTERS:
        return name
    half = (LETTERS - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _tops(layers: int, routes: Sequence[Sequence[tuple[float, int]]]) -> list[int]:
    """The upper edge of each layer."""
    bent = {b[1] for route in routes for a, b in pairwise(route) if abs(a[0] - b[0]) * WIDTH > 1}
    tops, y = [], MARGIN
    for layer in range(layers):
        if layer:
            y += HEIGHT + (FAR if layer in bent else NEAR)
        tops.append(y)
    return tops


def _path(points: Sequence[tuple[float, float]]) -> str:
    """From the lower edge of the first box to the upper edge of the last; straight down where it passes a layer."""
    (x, top), *rest = points
    y = top + HEIGHT
    parts = [f"M{x:g} {y:g}"]
    for i, (to, below) in enumerate(rest):
        if abs(to - x) < 1:
            parts.append(f"V{below:g}")
        else:
            half = (y + below) / 2
            parts.append(f"C{x:g} {half:g} {to:g} {half:g} {to:g} {below:g}")
            x = to
        if i < len(rest) - 1:
            y = below + HEIGHT
            parts.append(f"V{y:g}")
    return "".join(parts)
