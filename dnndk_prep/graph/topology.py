"""Walks over a GraphDef: what a node reads, what is needed for some nodes, and an order in which nodes can be read."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.errors import StageError, nearest


def node_of(reference: str) -> str:
    """The node that an input reference names: `^a` and `a:1` both name `a`."""
    return reference.removeprefix("^").split(":")[0]


def flag(node: NodeDef, name: str, default: bool = False) -> bool:
    """A boolean attribute. Reading `node.attr[name]` of a protobuf map would add what is not there."""
    return node.attr[name].b if name in node.attr else default


def by_name(graph_def: GraphDef) -> dict[str, NodeDef]:
    """The nodes by name, in the order of the graph."""
    return {node.name: node for node in graph_def.node}


def require(names: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raises StageError for the first of `names` that is not in `known`, with the nearest names."""
    known = list(known)
    there = set(known)
    for name in names:
        if name not in there:
            raise StageError(
                f"there is no {what} {name!r} in the graph",
                expected=f"a {what} of the graph",
                found=name,
                remedy=f"nearest names: {', '.join(nearest(name, known)) or 'none alike'}",
                code="K2D-0004",
            )


def reachable(nodes: dict[str, NodeDef], ends: Iterable[str]) -> set[str]:
    """The names of `ends` and of all nodes that they read, directly or not."""
    found: set[str] = set()
    waiting = [node_of(end) for end in ends]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [node_of(reference) for reference in nodes[name].input]
    return found


def in_order(nodes: Sequence[NodeDef]) -> list[NodeDef]:
    """Each node after the nodes it reads; nodes that may stand anywhere keep the order they came in.

    A loop is closed by its NextIteration, which TensorFlow lets its Merge read before it stands in the graph.
    """
    position = {node.name: i for i, node in enumerate(nodes)}
    readers: list[list[int]] = [[] for _ in nodes]
    missing = [0] * len(nodes)
    for i, node in enumerate(nodes):
        for name in {node_of(reference) for reference in node.input}:
            if nodes[position[name]].op not in ("NextIteration", "RefNextIteration"):
                readers[position[name]].append(i)
                missing[i] += 1
    ready = [i for i, count in enumerate(missing) if count == 0]
    heapq.heapify(ready)
    ordered = []
    while ready:
        i = heapq.heappop(ready)
        ordered.append(nodes[i])
        for reader in readers[i]:
            missing[reader] -= 1
            if missing[reader] == 0:
                heapq.heappush(ready, reader)
    if len(ordered) != len(nodes):
        stuck = next(node.name for node, count in zip(nodes, missing, strict=True) if count)
        raise StageError(
            "the graph has a cycle that is not a loop of TensorFlow's",
            expected="a graph in which every node can be computed after its inputs",
            found=f"{stuck} needs its own result",
            remedy="export the graph again from the model",
        )
    return ordered


def library_of(graph_def: GraphDef, nodes: Iterable[NodeDef]) -> list[str]:
    """The names of the library functions that `nodes` call, directly or not, in the order of the library."""
    functions = {function.signature.name: function for function in graph_def.library.function}
    found: set[str] = set()
    waiting = _called(nodes, functions.keys())
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _called(functions[name].node_def, functions.keys())
    return [name for name in functions if name in found]


def _called(nodes: Iterable[NodeDef], known: Iterable[str]) -> list[str]:
    known = set(known)
    names = []
    for node in nodes:
        names.append(node.op)
        for value in node.attr.values():
            names += [value.func.name, *(function.name for function in value.list.func)]
    return [name for name in names if name in known]
