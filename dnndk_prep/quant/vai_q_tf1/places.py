"""Where the quantizer puts FixNeurons: after which nodes, of which mode and width, and which of them make a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dnndk_prep.graph.topology import node_of
from dnndk_prep.quant.matching import Match, matches
from dnndk_prep.quant.network import Node, by_name
from dnndk_prep.quant.pow2 import Method, Mode
from dnndk_prep.quant.settings import Settings
from dnndk_prep.quant.vai_q_tf1.patterns import ROWS, UNTOUCHED, Row


@dataclass(frozen=True)
class Fix:
    """The FixNeuron behind the first output of `node`."""

    node: str
    mode: Mode
    method: Method
    bits: int

    @property
    def kind(self) -> str:
        """wquant for parameters, aquant for activations."""
        return "aquant" if self.mode == Mode.ACTIVATION else "wquant"

    @property
    def name(self) -> str:
        """The name of the FixNeuron itself."""
        return f"{self.node}/{self.kind}"


@dataclass(frozen=True, order=True)
class Group:
    """The nodes behind which the FixNeurons of one layer stand: the DPU's shifts follow from their positions."""

    layer: str
    input: str
    output: str
    weights: str
    bias: str | None = None


@dataclass(frozen=True)
class Places:
    """The FixNeurons by the node that they follow, the layers in the order of their names, and what was left out."""

    fixes: dict[str, Fix]
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()


def locate(nodes: Sequence[Node], settings: Settings) -> Places:
    """The places in a prepared graph."""
    return _Locator(nodes, settings).places()


@dataclass
class _Found:
    """A match with its row of the table."""

    row: Row
    match: Match
    reads: frozenset[str] = frozenset()


@dataclass
class _Locator:
    nodes: Sequence[Node]
    settings: Settings
    fixes: dict[str, tuple[Mode, Method]] = field(default_factory=dict)
    groups: set[Group] = field(default_factory=set)

    def places(self) -> Places:
        self.named = by_name(self.nodes)
        ignored = self._ignored()
        found = [item for item in self._found() if not _is_ignored(item.match, item.reads, ignored)]
        is_growing = True
        while is_growing:
            is_growing = False
            for item in found:
                is_growing |= self._add(item)
        for item in found:
            self._add_inputs(item)
        return self._overridden()

    def _ignored(self) -> set[str]:
        left = {
            match["layer"].name for pattern in UNTOUCHED for match in matches(self.nodes, pattern, overlapping=True)
        }
        return {*self.settings.ignore_nodes, *left}

    def _found(self) -> list[_Found]:
        """Each node in the first group that takes it."""
        taken: set[str] = set()
        found: list[_Found] = []
        for row in ROWS:
            for match in matches(self.nodes, row.pattern, overlapping=True):
                inputs = {match[role].name for role in row.inputs(match)}
                own = {match[role].name for role in ("weights", "bias") if role in match.roles and row.is_layer}
                members = match.names() - inputs
                if members - own & taken or not _is_bias(row, match):
                    continue
                taken |= members
                found.append(_Found(row, match, self._reads(row, match)))
        return found

    def _reads(self, row: Row, match: Match) -> frozenset[str]:
        """The nodes that have to be quantized for this one to be; of an Identity, what it hands on."""
        read = [match[role] for role in row.inputs(match)]
        if row.name in ("other", "other_relu"):
            # All inputs but the last: that is where axes and sizes stand, but the only input of a pool as well.
            read += [self.named[node_of(name)] for name in match.node.inputs[:-1]]
        return frozenset(node_of(item.inputs[0]) if item.op == "Identity" else item.name for item in read)

    def _add(self, item: _Found) -> bool:
        """Place what belongs to the match, if it is its turn; whether that was new."""
        if not item.row.is_layer and not item.reads <= self.fixes.keys():
            return False
        wanted = self._wanted(item)
        new = {name: config for name, config in wanted.items() if name not in self.fixes}
        self.fixes |= new
        if wanted and "layer" in item.match.roles and "weights" in item.match.roles:
            self._add_group(item)
        return bool(new)

    def _wanted(self, item: _Found) -> dict[str, tuple[Mode, Method]]:
        match, row, method = item.match, item.row, Method(self.settings.method)
        roles = {*row.parameters, *row.activations, "layer"} & match.roles.keys()
        if not all(match[role].is_float for role in roles):
            return {}
        found: dict[str, tuple[Mode, Method]] = {}
        for role in row.parameters:
            is_depthwise = role == "weights" and row.knows_depthwise and match["layer"].op.startswith("Depthwise")
            found[match[role].name] = (Mode.DEPTHWISE_WEIGHT if is_depthwise else Mode.WEIGHT, method)
        for role in row.activations:
            is_input = row.name == "placeholder"
            found[match[role].name] = (Mode.ACTIVATION, Method.NON_OVERFLOW if is_input else method)
        return found

    def _add_group(self, item: _Found) -> None:
        match = item.match
        bias = match["bias"].name if "bias" in match.roles else None
        layer, source, end, weights = (match[role].name for role in ("layer", "input", "end", "weights"))
        self.groups.add(Group(layer, source, end, weights, bias))

    def _add_inputs(self, item: _Found) -> None:
        """What a layer reads is quantized whoever makes it, and so is each part of a ConcatV2."""
        activation = (Mode.ACTIVATION, Method(self.settings.method))
        node = item.match.node
        if item.row.name == "other" and node.op == "ConcatV2" and node.is_float:
            for name in node.inputs[:-1]:
                # Of what has several outputs, only the first can be meant.
                if name in self.named:
                    self.fixes.setdefault(name, activation)
        if item.row.is_layer and node.is_float:
            for name in item.reads:
                self.fixes.setdefault(name, activation)

    def _overridden(self) -> Places:
        widths = (self.settings.weight_bit, self.settings.activation_bit)
        fixes = {
            name: Fix(name, mode, method, widths[mode == Mode.ACTIVATION])
            for name, (mode, method) in self.fixes.items()
        }
        notes: list[str] = []
        for flag, numbers in (("nodes_bit", self.settings.nodes_bit), ("nodes_method", self.settings.nodes_method)):
            for name, number in numbers.items():
                place = self._meant(name)
                if place not in fixes:
                    notes.append(f"{name}: no FixNeuron stands here, so --{flag} {name}:{number} changes nothing")
                elif flag == "nodes_bit":
                    fixes[place] = replace(fixes[place], bits=number)
                else:
                    is_fitting = number != Method.RELATIVE or fixes[place].mode == Mode.DEPTHWISE_WEIGHT
                    fixes[place] = replace(fixes[place], method=Method(number if is_fitting else Method.MIN_DIFFS))
        return Places(fixes, tuple(sorted(self.groups, key=_sort_key)), tuple(notes))

    def _meant(self, name: str) -> str:
        """The name itself, or the weights of the layer of that name."""
        if name in self.fixes:
            return name
        weights = [group.weights for group in sorted(self.groups, key=_sort_key) if group.layer == name]
        return weights[-1] if weights else name


def _sort_key(group: Group) -> tuple[str, ...]:
    # As the quantizer sorts them; NULL is what it writes for no bias.
    return (group.layer, group.input, group.output, group.weights, group.bias or "NULL")


def _is_bias(row: Row, match: Match) -> bool:
    """AddV2 behind a layer adds a bias only if that is called so, or if a relu follows."""
    return row.name != "convfc_bias" or match.node.op != "AddV2" or "bias" in match["bias"].name


def _is_ignored(match: Match, reads: frozenset[str], ignored: set[str]) -> bool:
    if match.node.name in reads:
        return False
    return match.node.name in ignored or any(_is_ignored(item, reads, ignored) for item in match.inputs)
