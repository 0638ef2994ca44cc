"""Finds small graphs in a large one and replaces them, in the order in which TensorFlow's graph transforms do.

The order counts: a match takes the nodes that it covers, its inputs among them, and what it took cannot be matched
again in the same search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dnndk_prep.graph.topology import node_of
from dnndk_prep.quant.network import Node, by_name, readers_of


@dataclass(frozen=True)
class Pattern:
    """A node of one of `ops` (of any, if there are none) whose inputs match `inputs` (any, if there are none)."""

    ops: frozenset[str] = frozenset()
    inputs: tuple[Pattern, ...] = ()
    # Under these names, which blanks separate, the match hands out the node.
    role: str = ""

    def named(self, role: str) -> Pattern:
        """The same pattern, its node under one more role."""
        return replace(self, role=f"{self.role} {role}".strip())

    def bare(self) -> Pattern:
        """The same pattern without roles."""
        return Pattern(self.ops, tuple(item.bare() for item in self.inputs))


def op(ops: str, *inputs: Pattern, role: str = "") -> Pattern:
    """A pattern for one of the ops, which blanks separate."""
    return Pattern(frozenset(ops.split()), inputs, role)


ANY = Pattern()
CONST = op("Const")


@dataclass
class Match:
    """A node and what was matched behind it."""

    node: Node
    inputs: list[Match] = field(default_factory=list)
    roles: dict[str, Node] = field(default_factory=dict)

    def __getitem__(self, role: str) -> Node:
        return self.roles[role]

    def names(self) -> set[str]:
        """The names of all nodes."""
        return {self.node.name}.union(*(match.names() for match in self.inputs))

    def nodes(self) -> list[Node]:
        """The nodes once, level by level; not those behind a node that was there before, as an input of the match."""
        found: dict[str, Node] = {}
        level = [self]
        while level:
            following: list[Match] = []
            for match in level:
                if match.node.name not in found:
                    found[match.node.name] = match.node
                    following += match.inputs
            level = following
        return list(found.values())


@dataclass(frozen=True)
class Replacement:
    """The nodes in place of a match, and the names that others read from now on instead of old ones.

    The nodes in `stay` go on reading what they read.
    """

    nodes: Sequence[Node]
    renames: Mapping[str, str] = field(default_factory=dict)
    stay: frozenset[str] = frozenset()


# What to put in place of a match; None leaves it. It is given the names of the match that others read.
Make = Callable[[Match, frozenset[str]], Replacement | None]


def execution_order(nodes: Sequence[Node]) -> list[Node]:
    """Each node after those it reads; of several that are ready, the last one that became so comes first."""
    number = {item.name: i for i, item in enumerate(nodes)}
    waiting = [len(item.inputs) for item in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for i, item in enumerate(nodes):
        for name in item.inputs:
            readers[number[node_of(name)]].append(i)
    ready = [i for i, count in enumerate(waiting) if not count]
    ordered = []
    while ready:
        i = ready.pop()
        ordered.append(nodes[i])
        for reader in readers[i]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return ordered


def matches(nodes: Sequence[Node], pattern: Pattern, overlapping: bool = False) -> Iterator[Match]:
    """All places where the pattern fits; unless `overlapping`, no two of them share a node."""
    named, taken = by_name(nodes), set[str]()
    for item in execution_order(nodes):
        found = _match(named, item, pattern, taken)
        if found is not None:
            if not overlapping:
                taken |= found.names()
            yield found


def replace_all(
    nodes: Sequence[Node],
    pattern: Pattern,
    make: Make,
    overlapping: bool = False,
    may_drop: bool = False,
    repeat: bool = False,
) -> list[Node]:
    """The nodes with replacements in place of matches.

    A match of which others read a node that its replacement lacks is left as it is, unless it `may_drop` it; then
    `renames` has to say what they read instead. With `repeat`, again until nothing changes.
    """
    current = list(nodes)
    while True:
        current, has_changed = _replace_once(current, pattern, make, overlapping, may_drop)
        if not repeat or not has_changed:
            return current


def renamed(nodes: Sequence[Node], renames: Mapping[str, str], stay: frozenset[str] = frozenset()) -> list[Node]:
    """The nodes with other names in what they read; nodes in `stay` as they are."""
    if not renames:
        return list(nodes)
    return [
        item if item.name in stay else item.reading(*(_renamed(name, renames) for name in item.inputs))
        for item in nodes
    ]


def _renamed(reference: str, renames: Mapping[str, str]) -> str:
    # A second output (x:1) keeps its name: only the first one is replaced.
    name = reference.removesuffix(":0")
    seen = set()
    while name in renames and name not in seen:
        seen.add(name)
        name = renames[name]
    return reference if name == reference.removesuffix(":0") else name


def _match(named: Mapping[str, Node], item: Node, pattern: Pattern, taken: set[str]) -> Match | None:
    if item.name in taken or (pattern.ops and item.op not in pattern.ops):
        return None
    found = Match(item)
    if pattern.inputs:
        sources = item.sources
        if len(sources) != len(pattern.inputs):
            return None
        for name, wanted in zip(sources, pattern.inputs, strict=True):
            inner = _match(named, named[name], wanted, taken)
            if inner is None:
                return None
            found.inputs.append(inner)
            found.roles |= inner.roles
    for role in pattern.role.split():
        found.roles[role] = item
    return found


def _replace_once(
    nodes: Sequence[Node], pattern: Pattern, make: Make, overlapping: bool, may_drop: bool
) -> tuple[list[Node], bool]:
    heads = {match.node.name: match for match in matches(nodes, pattern, overlapping)}
    if not heads:
        return list(nodes), False
    covered = {name for match in heads.values() for name in match.names()}
    readers = readers_of(nodes)
    result: list[Node] = []
    renames: dict[str, str] = {}
    stay: set[str] = set()
    has_changed = False
    for item in nodes:
        if item.name not in heads:
            if item.name not in covered:
                result.append(item)
            continue
        old = heads[item.name].nodes()
        inside = {one.name for one in old}
        read = frozenset(name for name in inside if any(one.name not in inside for one in readers.get(name, ())))
        made = make(heads[item.name], read)
        if made is None or (not may_drop and not read <= {one.name for one in made.nodes}):
            result += old
            continue
        result += made.nodes
        renames |= made.renames
        stay |= made.stay
        has_changed = True
    return _mended(renamed(result, renames, frozenset(stay)), nodes, {*renames.values()}), has_changed


def _mended(result: Sequence[Node], before: Sequence[Node], ends: set[str]) -> list[Node]:
    """Each name once, without what nobody reads any longer, and with what is still read though it was dropped.

    `ends` took the place of others, and may be what the graph is for.
    """
    first = by_name(reversed(result))
    kept = _without_left_over({name: first[name] for name in dict.fromkeys(item.name for item in result)}, before, ends)
    old = by_name(before)
    waiting = [name for item in kept.values() for name in item.sources]
    while waiting:
        name = waiting.pop()
        if name not in kept and name in old:
            kept[name] = old[name]
            waiting += old[name].sources
    return list(kept.values())


def _without_left_over(kept: dict[str, Node], before: Sequence[Node], ends: set[str]) -> dict[str, Node]:
    """Two overlapping matches may hand out the inner node of a third, which is replaced."""
    was_read = readers_of(before).keys() - ends
    while True:
        read = set(readers_of(kept.values()))
        left_over = [name for name in kept if name not in read and name in was_read]
        if not left_over:
            return kept
        for name in left_over:
            del kept[name]
