"""Drops control inputs that decide nothing, and the NoOps that gather them.

Given:  NoOp <- ^a; b <- (x, ^NoOp)             Result: b <- x
Given:  c <- (Switch:1, ^Identity(Switch:1))    Result: c <- Switch:1

Without side effects, a control input matters where it alone ties a node to a branch or to the turn of a loop.
"""

from __future__ import annotations

from collections.abc import Iterable

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.topology import by_name, in_order, node_of

SWITCHES, MERGES, ENTERS, EXITS = (
    ("Switch", "RefSwitch"),
    ("Merge", "RefMerge"),
    ("Enter", "RefEnter"),
    ("Exit", "RefExit"),
)
LOOP = "loop"
# Where a node runs: the sides of conditions ("cond/pred", 1), and the loops (LOOP, "while/frame").
Place = frozenset[tuple[str, int | str]]


def without_orders(graph_def: GraphDef, keep: frozenset[str]) -> GraphDef:
    """The graph with control inputs for places alone; the same graph where variables are written."""
    if any(node.op.startswith("Assign") for node in graph_def.node):
        return graph_def
    if not any(name.startswith("^") for node in graph_def.node for name in node.input):
        return graph_def
    nodes, places = by_name(graph_def), Places(graph_def)
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        if node.op == "NoOp" and node.name not in keep:
            continue
        data = [name for name in node.input if not name.startswith("^")]
        here = places.joined(data)
        controls = []
        for name in _waited_for(nodes, node, keep):
            there = places.of(f"^{name}")
            if not there <= here:
                here |= there
                controls.append(f"^{name}")
        new = result.node.add()
        new.CopyFrom(node)
        del new.input[:]
        new.input.extend([*data, *controls])
    return result


def bound(node: NodeDef, nodes: dict[str, NodeDef], controls: set[str]) -> bool:
    """Whether an Identity is more than its value: others wait for it (`controls`), or it stands for a branch or a loop.

    An Identity of a variable itself reads its value of the moment; that of a handle hands it on.
    """
    if node.name in controls or any(name.startswith("^") for name in node.input):
        return True
    return any(nodes[node_of(name)].op in ("VariableV2", "Variable", *SWITCHES, *ENTERS) for name in node.input)


def _waited_for(nodes: dict[str, NodeDef], node: NodeDef, keep: frozenset[str]) -> list[str]:
    """The nodes that `node` waits for, in the place of each NoOp those that it waits for."""
    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [name[1:] for name in reversed(node.input) if name.startswith("^")]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if nodes[name].op == "NoOp" and name not in keep:
            waiting += [node_of(inner) for inner in reversed(nodes[name].input)]
        else:
            found[name] = None
    return list(found)


class Places:
    """Where each node of a graph runs."""

    def __init__(self, graph_def: GraphDef) -> None:
        self._nodes = by_name(graph_def)
        self._places: dict[str, Place] = {}
        # Where each loop stands as a whole.
        self._around: dict[str, Place] = {}
        ordered = in_order(list(graph_def.node))
        # Twice: what a loop is entered with may stand after its first Exit.
        for node in [*ordered, *ordered]:
            self._places[node.name] = self._place(node)

    def of(self, reference: str) -> Place:
        """The place of a tensor (`x`, `x:1`) or, for `^x`, of a node."""
        node = self._nodes[node_of(reference)]
        place = self._places.get(node.name, frozenset())
        if node.op in SWITCHES and not reference.startswith("^"):
            return place | {(self._root(node.input[1]), int(reference.partition(":")[2] or 0))}
        return place

    def joined(self, references: Iterable[str]) -> Place:
        return frozenset[tuple[str, int | str]]().union(*map(self.of, references))

    def loops(self, name: str) -> list[str]:
        """The loops that a node runs in, the outermost first."""
        frames = [str(frame) for kind, frame in self._places[name] if kind == LOOP]
        return sorted(frames, key=lambda frame: len(self._around[frame]))

    def _place(self, node: NodeDef) -> Place:
        if node.op in MERGES:
            # It gives what the one side gives that runs; the end of a loop's turn is not known yet.
            known = [self.of(name) for name in node.input if node_of(name) in self._places]
            return frozenset.intersection(*known) if known else frozenset()
        place = self.joined(node.input)
        if node.op in ENTERS:
            frame = node.attr["frame_name"].s.decode()
            self._around[frame] = self._around.get(frame, frozenset()) | place
            return place | {(LOOP, frame)}
        if node.op in EXITS:
            frames = [str(name) for kind, name in place if kind == LOOP]
            return self._around[max(frames, key=lambda name: len(self._around[name]))] if frames else place
        return place

    def _root(self, reference: str) -> str:
        """The condition itself, behind what hands it on."""
        while (node := self._nodes[node_of(reference)]).op == "Identity":
            reference = node.input[0]
        return reference
