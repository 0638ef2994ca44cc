"""The forecast of subgraphs: which nodes run together on the DPU or on the CPU, in their order."""

from __future__ import annotations

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
    subgraph: two of them can never read each other, since a value never goes back to a lower level.
    """
    level: dict[str, int] = {}
    fronts: dict[str, list[str]] = {}
    parent: dict[str, str] = {}
    for op in network.ops.values():
        before = list(dict.fromkeys(front for name in op.inputs for front in fronts.get(node_of(name), [])))
        device = verdicts[op.name].placement
        if device == FOLDED or op.op in INPUTS:
            fronts[op.name] = before
            continue
        steps = [level[name] + (verdicts[name].placement != device) for name in before]
        level[op.name] = max(steps, default=0)
        fronts[op.name], parent[op.name] = [op.name], op.name
        for name in before:
            if level[name] == level[op.name] and verdicts[name].placement == device:
                parent[_root(parent, name)] = _root(parent, op.name)
    members: dict[str, list[str]] = {}
    for name in parent:
        members.setdefault(_root(parent, name), []).append(name)
    order = sorted(members.values(), key=lambda names: level[names[0]])
    return tuple(Subgraph(verdicts[names[0]].placement, tuple(names)) for names in order)


def _root(parent: dict[str, str], name: str) -> str:
    while parent[name] != name:
        parent[name] = parent[parent[name]]
        name = parent[name]
    return name
