"""Cuts branches whose condition is known, as it is after training's flags have got their value.

Given:  Switch(x, False):0 -> a -> Merge <- b <- Switch(x, False):1; Merge -> c          Result: x -> a -> c

Loops, whose condition is computed, stay.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import by_name, in_order, node_of
from dnndk_prep.graph.weights import constant

SWITCHES, MERGES = ("Switch", "RefSwitch"), ("Merge", "RefMerge")


def cut_switches(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with the live side of each known branch alone; a Merge in `keep` becomes an Identity of its name."""
    if not any(node.op in SWITCHES for node in graph_def.node):
        return Rewritten(graph_def)
    return Rewritten(_Cut(graph_def).result())


class _Cut:
    """Walks in the order of computation: which tensors are never computed, and which only pass a value on."""

    def __init__(self, graph_def: GraphDef) -> None:
        self.graph_def, self.nodes = graph_def, by_name(graph_def)
        self.dead: set[str] = set()
        self.alias: dict[str, str] = {}
        self.made: dict[str, NodeDef] = {}
        for node in in_order(list(graph_def.node)):
            self._visit(node)

    def result(self) -> GraphDef:
        result = GraphDef(versions=self.graph_def.versions, library=self.graph_def.library)
        for node in self.graph_def.node:
            new = self.made.get(node.name, node)
            if f"{node.name}:0" in self.dead and f"{node.name}:1" in self.dead:
                continue
            written = result.node.add()
            written.CopyFrom(new)
            # Colocation with a node that may be gone.
            written.attr.pop("_class", None)
            names = [name if name[0] == "^" else self._source(name) for name in new.input]
            del written.input[:]
            written.input.extend(names)
        return result

    def _visit(self, node: NodeDef) -> None:
        sources = [self._source(name) if name[0] != "^" else name for name in node.input]
        if node.op in MERGES:
            self._merge(node, sources)
            return
        if any(self._is_dead(name) for name in node.input if self._is_before(name)):
            # More outputs than these exist; what counts is that two known ones mark the whole node.
            self.dead |= {f"{node.name}:{i}" for i in range(max(2, self._outputs(node)))}
        elif node.op in SWITCHES and (side := self._truth(sources[1])) is not None:
            self.dead.add(f"{node.name}:{1 - int(side)}")
            self.alias[f"{node.name}:{int(side)}"] = _full(sources[0])
            self.made[node.name] = self._identity(node, sources[0])

    def _merge(self, node: NodeDef, sources: list[str]) -> None:
        live = [i for i, name in enumerate(node.input) if name[0] != "^" and not self._is_dead(name)]
        count = sum(name[0] != "^" for name in node.input)
        if len(live) == count:
            return
        if not live:
            self.dead |= {f"{node.name}:0", f"{node.name}:1"}
        elif len(live) == 1:
            self.alias[f"{node.name}:0"] = _full(sources[live[0]])
            self.made[node.name] = self._identity(node, sources[live[0]])
            if any(f"{node.name}:1" in other.input for other in self.graph_def.node):
                # Which branch was taken: the reader gets a constant.
                index = constant(f"{node.name}/taken", np.array(live[0], np.int32))
                self.graph_def = _with(self.graph_def, index)
                self.nodes[index.name] = index
                self.alias[f"{node.name}:1"] = f"{index.name}:0"

    def _identity(self, node: NodeDef, source: str) -> NodeDef:
        new = NodeDef(name=node.name, op="Identity", input=[source], device=node.device)
        new.attr["T"].CopyFrom(node.attr["T"])
        return new

    def _is_before(self, name: str) -> bool:
        return self.nodes[node_of(name)].op not in ("NextIteration", "RefNextIteration")

    def _is_dead(self, name: str) -> bool:
        if name.startswith("^"):
            return {f"{name[1:]}:0", f"{name[1:]}:1"} <= self.dead
        return _full(name) in self.dead

    def _source(self, name: str) -> str:
        while (full := _full(name)) in self.alias:
            name = self.alias[full]
        return name.removesuffix(":0")

    def _truth(self, name: str, depth: int = 0) -> bool | None:
        """The value of a condition, if it is known."""
        name = self._source(name)
        node = self.nodes[node_of(name)]
        if depth > 100:
            return None
        if node.op == "Const":
            value = tf.make_ndarray(node.attr["value"].tensor)
            return bool(value) if value.size == 1 else None
        values = [self._truth(given, depth + 1) for given in node.input if given[0] != "^" and node.op in LOGIC]
        return LOGIC[node.op](values) if node.op in LOGIC else None

    def _outputs(self, node: NodeDef) -> int:
        prefix = f"{node.name}:"
        if self._ports is None:
            self._ports = {}
            for other in self.graph_def.node:
                for name in other.input:
                    base, _, port = name.partition(":")
                    if port.isdigit():
                        self._ports[base] = max(self._ports.get(base, 0), int(port) + 1)
        return self._ports.get(prefix[:-1], 0)

    _ports: dict[str, int] | None = None


def _and(values: list[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def _or(values: list[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


def _not(values: list[bool | None]) -> bool | None:
    return None if values[0] is None else not values[0]


LOGIC = {
    "Identity": lambda values: values[0],
    "LogicalNot": _not,
    "LogicalAnd": _and,
    "LogicalOr": _or,
    # A whole number for a truth value: how If and old learning phases take it.
    "Cast": lambda values: values[0],
}


def _full(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _with(graph_def: GraphDef, node: NodeDef) -> GraphDef:
    result = GraphDef()
    result.CopyFrom(graph_def)
    result.node.append(node)
    return result
