"""Places a graph in layers from top to bottom: every edge goes down, with few crossings and straight chains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

# Sweeps over the layers, down and up: more change nothing to be seen.
ORDER_SWEEPS, PLACE_SWEEPS = 8, 8
# Points that edges over several layers may take to go round boxes; beyond, the longest go straight.
MAX_BENDS = 20_000
# A bend pulls its edge straight harder than a box does, and takes less room.
BEND_WEIGHT, BEND_WIDTH = 4.0, 0.12


@dataclass(frozen=True)
class Layout:
    """layer: of each node; x: of each node's middle, in widths of a box; routes: of each edge, its (x, layer)."""

    layer: tuple[int, ...]
    x: tuple[float, ...]
    routes: tuple[tuple[tuple[float, int], ...], ...]


def layered(count: int, edges: Sequence[tuple[int, int]], gap: float = 0.15) -> Layout:
    """The layout of nodes 0 ... count - 1, numbered so that each edge (from, to) goes to a higher number.

    gap: the room between two boxes of a layer, in widths of a box.
    """
    layer = _layers(count, edges)
    chains = _chains(count, layer, edges)
    size = 1 + max((point for chain in chains for point in chain), default=count - 1)
    level = _levels(size, layer, edges, chains)
    above: list[list[int]] = [[] for _ in range(size)]
    below: list[list[int]] = [[] for _ in range(size)]
    for chain in chains:
        for a, b in pairwise(chain):
            if level[b] == level[a] + 1:
                above[b].append(a)
                below[a].append(b)
    rows: list[list[int]] = [[] for _ in range(1 + max(level, default=-1))]
    for point, at in enumerate(level):
        rows[at].append(point)
    _order(rows, above, below)
    x = _place(rows, above, below, count, gap)
    routes = tuple(tuple((x[point], level[point]) for point in chain) for chain in chains)
    return Layout(tuple(layer), tuple(x[:count]), routes)


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """As high as what a node reads allows; a node that reads nothing directly above the first that reads it."""
    layer, readers, reads = [0] * count, [[] for _ in range(count)], [False] * count  # type: ignore[var-annotated]
    for a, b in sorted(edges, key=lambda edge: edge[1]):
        layer[b] = max(layer[b], layer[a] + 1)
        readers[a].append(b)
        reads[b] = True
    for node in range(count):
        if not reads[node] and readers[node]:
            layer[node] = min(layer[reader] for reader in readers[node]) - 1
    return layer


def _chains(count: int, layer: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Each edge as the points that it goes through: its ends, and a new one for each layer between them."""
    chains = [[a, b] for a, b in edges]
    used, point = 0, count
    for i in sorted(range(len(edges)), key=lambda i: layer[edges[i][1]] - layer[edges[i][0]]):
        a, b = edges[i]
        bends = layer[b] - layer[a] - 1
        if used + bends > MAX_BENDS:
            break
        chains[i] = [a, *range(point, point + bends), b]
        used, point = used + bends, point + bends
    return chains


def _levels(size: int, layer: Sequence[int], edges: Sequence[tuple[int, int]], chains: list[list[int]]) -> list[int]:
    level = [*layer, *[0] * (size - len(layer))]
    for (a, _), chain in zip(edges, chains, strict=True):
        for step, point in enumerate(chain[1:-1], 1):
            level[point] = layer[a] + step
    return level


def _order(rows: list[list[int]], above: Sequence[list[int]], below: Sequence[list[int]]) -> None:
    """Sort each layer by the mean place of the neighbours in the one before it, downwards and upwards in turn."""
    place = {point: i for row in rows for i, point in enumerate(row)}
    for sweep in range(ORDER_SWEEPS):
        near, turn = (above, rows) if sweep % 2 == 0 else (below, rows[::-1])
        for row in turn:
            wanted = {point: _mean([place[one] for one in near[point]], place[point]) for point in row}
            row.sort(key=lambda point: wanted[point])
            place |= {point: i for i, point in enumerate(row)}


def _place(
    rows: Sequence[list[int]], above: Sequence[list[int]], below: Sequence[list[int]], count: int, gap: float
) -> list[float]:
    """The x of each point: as near to its neighbours as the order and the room in the layer let it."""
    x = [0.0] * sum(map(len, rows))
    for row in rows:
        for point, at in zip(row, _offsets(row, count, gap), strict=True):
            x[point] = at
    for sweep in range(PLACE_SWEEPS):
        turn = rows if sweep % 2 == 0 else rows[::-1]
        for row in turn:
            first, second = (above, below) if sweep % 2 == 0 else (below, above)
            wanted, weights = [], []
            for point in row:
                near = first[point] or second[point]
                wanted.append(_mean([x[one] for one in near], x[point]))
                weights.append(BEND_WEIGHT if point >= count else 1.0)
            offsets = _offsets(row, count, gap)
            fitted = nondecreasing([value - at for value, at in zip(wanted, offsets, strict=True)], weights)
            for point, value, at in zip(row, fitted, offsets, strict=True):
                x[point] = value + at
    return x


def _offsets(row: Sequence[int], count: int, gap: float) -> list[float]:
    """Where the points of a layer are when they stand as close as they may."""
    offsets, right = [], 0.0
    for i, point in enumerate(row):
        width = 1.0 if point < count else BEND_WIDTH
        left = right + gap + width / 2 if i else 0.0
        offsets.append(left)
        right = left + width / 2
    return offsets


def nondecreasing(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The nondecreasing sequence with the least weighted squared distance to `values`, by pooling neighbours."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        mean, total, size = value, weight, 1
        while pools and pools[-1][0] > mean:
            before, other, more = pools.pop()
            mean = (mean * total + before * other) / (total + other)
            total, size = total + other, size + more
        pools.append((mean, total, size))
    return [mean for mean, _, size in pools for _ in range(size)]


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def numbered(names: Sequence[str], reads: Mapping[str, Sequence[str]]) -> list[tuple[int, int]]:
    """The edges between `names`, which stand in an order in which each follows what it reads, but for loops."""
    number = {name: i for i, name in enumerate(names)}
    pairs = [(number[source], number[name]) for name in names for source in reads[name] if source in number]
    return [(a, b) for a, b in dict.fromkeys(pairs) if a < b]
