"""Places a graph in layers from top to bottom: every edge goes down, with few crossings and straight chains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dnndk_prep.report.columns import Rows, columns

# Sweeps over the layers, down and up: more change nothing to be seen.
SWEEPS = 8
# Points that edges over several layers may take to go round boxes; beyond, the longest go straight.
MAX_BENDS = 20_000
# The room that a bend takes, in widths of a box.
BEND = 0.02


@dataclass(frozen=True)
class Layout:
    """layer: of each node; x: of each node's middle, in widths of a box; routes: of each edge, its (x, layer)."""

    layer: tuple[int, ...]
    x: tuple[float, ...]
    routes: tuple[tuple[tuple[float, int], ...], ...]


def layered(count: int, edges: Sequence[tuple[int, int]], gap: float = 0.1) -> Layout:
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

    def separation(a: int, b: int) -> float:
        return gap + sum((1.0 if point < count else BEND) / 2 for point in (a, b))

    x = columns(Rows(rows, above, below), count, separation)
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
    for sweep in range(SWEEPS):
        near, turn = (above, rows) if sweep % 2 == 0 else (below, rows[::-1])
        for row in turn:
            wanted = {point: _mean([place[one] for one in near[point]], place[point]) for point in row}
            row.sort(key=lambda point: wanted[point])
            place |= {point: i for i, point in enumerate(row)}


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def numbered(names: Sequence[str], reads: Mapping[str, Sequence[str]]) -> list[tuple[int, int]]:
    """The edges between `names`, which stand in an order in which each follows what it reads, but for loops."""
    number = {name: i for i, name in enumerate(names)}
    pairs = [(number[source], number[name]) for name in names for source in reads[name] if source in number]
    return [(a, b) for a, b in dict.fromkeys(pairs) if a < b]
