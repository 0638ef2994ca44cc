"""Renames nodes whose names would be one after `/` becomes `_`: the quantizers name their files that way.

Given:  a/b and a_b        Result: a/b and a_b_1
"""

from __future__ import annotations

from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.names import rename
from dnndk_prep.graph.rewrites import Rewritten


def distinct_names(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with a number behind the name of each later node; names in `keep` stay, and the clash is told."""
    names = [node.name for node in graph_def.node]
    owners: dict[str, str] = {}
    notes = []
    for name in sorted(keep & set(names)):
        other = owners.setdefault(_flat(name), name)
        if other != name:
            notes.append(
                f"{other} and {name} are one name to the quantizers' files; give one of them another name in "
                "graph.inputs or graph.outputs"
            )
    taken = {_flat(name) for name in names}
    new_names = {}
    for name in names:
        if name in keep:
            continue
        if owners.setdefault(_flat(name), name) != name:
            number = 1
            while _flat(f"{name}_{number}") in taken:
                number += 1
            new_names[name] = f"{name}_{number}"
            taken.add(_flat(new_names[name]))
    return Rewritten(rename(graph_def, new_names) if new_names else graph_def, tuple(notes))


def _flat(name: str) -> str:
    return name.replace("/", "_")
