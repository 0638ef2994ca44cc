"""The x of each point of a layered graph: long edges and chains straight, neighbours near one another.

After U. Brandes and B. Köpf, "Fast and simple horizontal coordinate assignment" (Graph Drawing 2001), with compaction
by longest paths: points are aligned in blocks in four ways, and each gets the middle of its four places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import inf

Separation = Callable[[int, int], float]


@dataclass(frozen=True)
class Rows:
    """Layers of points in their order; above, below: whom each point is joined to in the next layer."""

    rows: Sequence[Sequence[int]]
    above: Sequence[Sequence[int]]
    below: Sequence[Sequence[int]]

    def turned(self, upwards: bool, leftwards: bool) -> Rows:
        """The same seen upside down, mirrored, or both."""
        rows = [row[::-1] if leftwards else row for row in self.rows]
        if upwards:
            return Rows(rows[::-1], self.below, self.above)
        return Rows(rows, self.above, self.below)


def columns(graph: Rows, first_bend: int, separation: Separation) -> list[float]:
    """The x of the middle of each point; points from `first_bend` on are bends of edges.

    separation: the least distance between the middles of two neighbours in a layer; it is symmetric.
    """
    count = len(graph.above)
    crossed = _crossed(graph, first_bend)
    found = []
    for upwards, leftwards in product((False, True), repeat=2):
        turned = graph.turned(upwards, leftwards)
        root = _aligned(turned, crossed, count)
        x = _compacted(turned, root, separation)
        found.append([-value for value in x] if leftwards else x)
    return _middle(found) if count else []


def _crossed(graph: Rows, first_bend: int) -> set[tuple[int, int]]:
    """The edges (as from either side) that cross a piece between two bends: the long edge stays straight."""
    found = set()
    for upper, lower in pairwise(graph.rows):
        place = {point: i for row in (upper, lower) for i, point in enumerate(row)}
        edges = [(point, to) for point in upper for to in graph.below[point]]
        inner = [(place[a], place[b]) for a, b in edges if a >= first_bend and b >= first_bend]
        for a, b in edges:
            is_inner = a >= first_bend and b >= first_bend
            if not is_inner and any((place[a] - c) * (place[b] - d) < 0 for c, d in inner):
                found |= {(a, b), (b, a)}
    return found


def _aligned(graph: Rows, crossed: set[tuple[int, int]], count: int) -> list[int]:
    """The block of each point, named by its first one: each joins its middle neighbour above, where none crosses."""
    root = list(range(count))
    place = {point: i for row in graph.rows for i, point in enumerate(row)}
    for row in graph.rows:
        last, taken = -1, set()
        for point in row:
            near = sorted(graph.above[point], key=place.__getitem__)
            middle = near[(len(near) - 1) // 2 : len(near) // 2 + 1]
            for other in middle:
                if last < place[other] and (point, other) not in crossed and other not in taken:
                    root[point] = root[other]
                    last = place[other]
                    taken.add(other)
                    break
    return root


def _compacted(graph: Rows, root: Sequence[int], separation: Separation) -> list[float]:
    """As far left as the blocks let one another, then as near to the right neighbours as that leaves room for."""
    after: dict[int, dict[int, float]] = {name: {} for name in root}
    for row in graph.rows:
        for a, b in pairwise(row):
            one, other = root[a], root[b]
            after[one][other] = max(after[one].get(other, 0.0), separation(a, b))
    order = _topological(after)
    x = dict.fromkeys(after, 0.0)
    for name in order:
        for other, distance in after[name].items():
            x[other] = max(x[other], x[name] + distance)
    for name in reversed(order):
        room = min((x[other] - distance for other, distance in after[name].items()), default=-inf)
        x[name] = max(x[name], room)
    return [x[name] for name in root]


def _topological(after: dict[int, dict[int, float]]) -> list[int]:
    waiting = dict.fromkeys(after, 0)
    for others in after.values():
        for other in others:
            waiting[other] += 1
    order = [name for name, count in waiting.items() if not count]
    for name in order:
        for other in after[name]:
            waiting[other] -= 1
            if not waiting[other]:
                order.append(other)
    return order


def _middle(found: Sequence[Sequence[float]]) -> list[float]:
    """The mean of the two middle places of each point, the four brought over the narrowest of them."""
    narrow = min(found, key=lambda x: max(x) - min(x))
    moved = []
    for i, x in enumerate(found):
        # Every second one is pushed to the right.
        shift = max(narrow) - max(x) if i % 2 else min(narrow) - min(x)
        moved.append([value + shift for value in x])
    return [_mean(sorted(places)[1:3]) for places in zip(*moved, strict=True)]


def _mean(values: Iterable[float]) -> float:
    kept = list(values)
    return sum(kept) / len(kept)
