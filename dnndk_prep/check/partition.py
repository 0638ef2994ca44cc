"""The forecast of subgraphs: which nodes run together on the DPU or on the CPU, in their order."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from dnndk_prep.check.judge import FOLDED, Verdict
from dnndk_prep.check.network import INPUTS, Network, node_of


@dataclass(frozen=True)
class Subgraph:
    """What runs on one device without coming back to the other."""

    device: str
    nodes: tuple[str, ...]


def partition(network: Network, verdicts: Mapping[str, Verdict]) -> tuple[Subgraph, ...]:
    """The subgraphs, each after all that it reads.

    A node's level is how often the device changes on the way to it. What is connected within one level is one
    subgraph: two of them can never read each other, since a value never goes back to a lower level. Then what a
    subgraph reads of its own device joins it, unless something between the two runs on the other one.
    """
    level: dict[str, int] = {}
    fronts: dict[str, list[str]] = {}
    edges: dict[str, list[str]] = {}
    parent: dict[str, str] = {}
    for op in network.ops.values():
        before = list(dict.fromkeys(front for name in op.inputs for front in fronts.get(node_of(name), [])))
        device = verdicts[op.name].placement
        if device == FOLDED or op.op in INPUTS:
            fronts[op.name] = before
            continue
        steps = [level[name] + (verdicts[name].placement != device) for name in before]
        level[op.name] = max(steps, default=0)
        fronts[op.name], parent[op.name], edges[op.name] = [op.name], op.name, before
        for name in before:
            if level[name] == level[op.name] and verdicts[name].placement == device:
                parent[_root(parent, name)] = _root(parent, op.name)
    _join(edges, parent, {name: verdicts[name].placement for name in parent})
    members: dict[str, list[str]] = {}
    for name in parent:
        members.setdefault(_root(parent, name), []).append(name)
    place = {name: place for place, name in enumerate(parent)}
    ranks = {root: (min(level[name] for name in names), place[names[0]]) for root, names in members.items()}
    order = _in_order(_reads(edges, parent), ranks)
    return tuple(Subgraph(verdicts[root].placement, tuple(members[root])) for root in order)


def _join(edges: Mapping[str, list[str]], parent: dict[str, str], device: Mapping[str, str]) -> None:
    """Subgraphs of different levels on one device, of which one reads the other with nothing between them, are one."""
    reads = _reads(edges, parent)
    pending = [(after, before) for after, all_before in reads.items() for before in all_before]
    for after, before in pending:
        after, before = _root(parent, after), _root(parent, before)
        if after == before or device[after] != device[before]:
            continue
        reads = _reads(edges, parent)
        if not any(_reaches(reads, other, before) for other in reads[after] - {before}):
            parent[before] = after


def _reads(edges: Mapping[str, list[str]], parent: dict[str, str]) -> dict[str, set[str]]:
    """Which subgraphs each one reads, by their roots."""
    found: dict[str, set[str]] = {}
    for name, all_before in edges.items():
        root = _root(parent, name)
        found.setdefault(root, set()).update(_root(parent, before) for before in all_before)
        found[root].discard(root)
    return found


def _reaches(reads: Mapping[str, set[str]], start: str, wanted: str) -> bool:
    """Whether `start` reads `wanted`, directly or not."""
    seen, waiting = {start}, [start]
    while waiting:
        name = waiting.pop()
        if name == wanted:
            return True
        waiting += reads[name] - seen
        seen |= reads[name]
    return False


def _in_order(reads: Mapping[str, set[str]], ranks: Mapping[str, tuple[int, int]]) -> list[str]:
    """Each after what it reads; of those that can be next, the one of the lowest rank."""
    left = {root: len(before) for root, before in reads.items()}
    readers: dict[str, list[str]] = {root: [] for root in reads}
    for root, all_before in reads.items():
        for before in all_before:
            readers[before].append(root)
    ready = [(ranks[root], root) for root, count in left.items() if not count]
    heapq.heapify(ready)
    found = []
    while ready:
        _, root = heapq.heappop(ready)
        found.append(root)
        for reader in readers[root]:
            left[reader] -= 1
            if not left[reader]:
                heapq.heappush(ready, (ranks[reader], reader))
    return found


def _root(parent: dict[str, str], name: str) -> str:
    while parent[name] != name:
        parent[name] = parent[parent[name]]
        name = parent[name]
    return name
