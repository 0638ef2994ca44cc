"""What becomes of the calibrated positions: equal ones where tensors meet, shifts that the DPU can do.

Each step computes from the positions that the step before has left; where several ask for one position, the last in the
graph has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from dnndk_prep.graph.fix_neurons import FIX_NEURON
from dnndk_prep.quant.network import Node, by_name
from dnndk_prep.quant.settings import Settings
from dnndk_prep.quant.vai_q_tf1.forms import HARD_SIGMOID
from dnndk_prep.quant.vai_q_tf1.places import Group

# The right shift of a layer's sum, and of what its bias is shifted to the left.
LEAST_SHIFT, MOST_SHIFT = 0, 16
# Bits of the accumulator, and of a product.
ACCUMULATOR, PRODUCT = 24, 8
LEAST_SIGMOID_INPUT, LEAST_SIGMOID_OUTPUT = 0, 7
CONCATS = ("Concat", "ConcatV2")
# What a position goes through to a concat.
TRANSPARENT = ("Reshape", "ExpandDims")
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2d", "DepthwiseConv2dNative", "Conv2DBackpropInput")
# Below these, height, width and channels of a dense layer's input have to stay.
DENSE_LIMITS = (16, 16, 4096)

Positions = dict[str, int]


@dataclass(frozen=True)
class Change:
    """A position that one of the steps changed."""

    step: str
    fix: str
    before: int
    after: int


@dataclass(frozen=True)
class Quantized:
    """A graph with FixNeurons, and what the steps look at."""

    nodes: Mapping[str, Node]
    groups: Sequence[Group]
    outputs: Collection[str]
    settings: Settings

    @property
    def fixes(self) -> list[Node]:
        return [item for item in self.nodes.values() if item.op == FIX_NEURON]

    def fix_of(self, name: str | None) -> str | None:
        """The FixNeuron behind a node."""
        return next((fix for fix in (f"{name}/wquant", f"{name}/aquant") if fix in self.nodes), None)


def adjusted(
    nodes: Sequence[Node],
    groups: Sequence[Group],
    outputs: Collection[str],
    settings: Settings,
    calibrated: Mapping[str, int],
) -> tuple[Positions, list[Change]]:
    """The final positions by FixNeuron, and what was changed on the way, in its order."""
    graph = Quantized(by_name(nodes), groups, outputs, settings)
    positions, changes = dict(calibrated), []
    for step, rule in STEPS.items():
        for fix, position in rule(graph, positions).items():
            if position != positions[fix]:
                changes.append(Change(step, fix, positions[fix], position))
                positions = positions | {fix: position}
    return positions, changes


def align_concat(graph: Quantized, positions: Mapping[str, int]) -> Positions:
    """What is concatenated has the position of the result."""
    found: Positions = {}
    for fix in graph.fixes:
        concat = graph.nodes[fix.inputs[0]]
        if concat.op not in CONCATS or not _is_wanted(graph.settings.align_concat, concat.name, graph.outputs):
            continue
        for name in concat.sources[:-1]:
            _ask(graph, positions, found, name, positions[fix.name])
    return found


def align_pool(graph: Quantized, positions: Mapping[str, int]) -> Positions:
    """What is pooled has the position of the result."""
    found: Positions = {}
    for fix in graph.fixes:
        pool = graph.nodes[fix.inputs[0]]
        if pool.op == "Mul":
            pool = graph.nodes[pool.sources[0]]
        wanted = "MaxPool" if pool.name == fix.inputs[0] else "AvgPool"
        if pool.op != wanted or not _is_wanted(graph.settings.align_pool, pool.name, graph.outputs):
            continue
        source = pool.sources[0]
        if source in positions and positions[source] != positions[fix.name]:
            found[source] = positions[fix.name]
    return found


def adjust_shift_cut(graph: Quantized, positions: Mapping[str, int]) -> Positions:
    """The sum of a layer can be shifted to the right only, and by 16 at most: else its weights move."""
    found: Positions = {}
    if not graph.settings.adjust_shift_cut:
        return found
    for group in graph.groups:
        fixes = [graph.fix_of(name) for name in (group.input, group.output, group.weights)]
        if None in fixes:
            continue
        pi, po, pw = (positions[fix] for fix in fixes if fix is not None)
        shift = pw + pi - po
        if not LEAST_SHIFT <= shift <= MOST_SHIFT:
            found[str(fixes[2])] = min(max(shift, LEAST_SHIFT), MOST_SHIFT) + po - pi
    return found


def adjust_shift_bias(graph: Quantized, positions: Mapping[str, int]) -> Positions:
    """The bias is shifted to where the sum is, within what the accumulator holds: else the bias moves."""
    found: Positions = {}
    if not graph.settings.adjust_shift_bias:
        return found
    for group in graph.groups:
        fixes = [graph.fix_of(name) for name in (group.input, group.output, group.weights, group.bias)]
        if None in fixes:
            continue
        pi, po, pw, pb = (positions[fix] for fix in fixes if fix is not None)
        grown: int | None = pw + pi - po
        if graph.settings.adjust_shift_bias == 2:
            grown = growth(graph.nodes[group.layer], graph.nodes[group.weights])
        if grown is None:
            continue
        least = min(0, -(ACCUMULATOR - (PRODUCT + grown)))
        shift = pw + pi - pb
        if not least <= shift <= MOST_SHIFT:
            # Both limits may be passed by the same number: the lower one is looked at first.
            found[str(fixes[3])] = pw + pi - (least if shift < least else MOST_SHIFT)
    return found


def adjust_hard_sigmoid(graph: Quantized, positions: Mapping[str, int]) -> Positions:
    """The DPU's hard-sigmoid has at least 7 places behind the point, and none before it goes in."""
    found: Positions = {}
    for fix in graph.fixes:
        product = graph.nodes[fix.inputs[0]]
        if product.op != "Mul" or not product.name.endswith(HARD_SIGMOID):
            continue
        item = product
        for _ in range(3):
            item = graph.nodes[item.sources[0]]
        source = item.sources[0]
        if source in positions and positions[source] < LEAST_SIGMOID_INPUT:
            found[source] = LEAST_SIGMOID_INPUT
        if positions[fix.name] < LEAST_SIGMOID_OUTPUT:
            found[fix.name] = LEAST_SIGMOID_OUTPUT
    return found


Step = Callable[[Quantized, Mapping[str, int]], Positions]
STEPS: dict[str, Step] = {
    "align_concat": align_concat,
    "align_pool": align_pool,
    "adjust_shift_cut": adjust_shift_cut,
    "adjust_shift_bias": adjust_shift_bias,
    "hard_sigmoid": adjust_hard_sigmoid,
}


def growth(layer: Node, weights: Node) -> int | None:
    """The bits by which a sum over a kernel may be longer than a product; None where the quantizer has no rule."""
    if weights.value is None:
        return None
    shape = weights.value.shape
    if layer.op in CONVOLUTIONS:
        count = math.prod(shape[:3])
    elif layer.op == "MatMul":
        parts = dense_parts(shape[0])
        if parts is None:
            return None
        count = math.prod(parts)
    else:
        return None
    return math.ceil(math.log2(count))


def dense_parts(size: int) -> tuple[int, int, int] | None:
    """A dense layer's input as height, width and channels within the limits; None where it does not go up in them.

    The prime factors go round, the smallest first; it takes three of them at least.
    """
    factors = _prime_factors(size)
    if len(factors) < len(DENSE_LIMITS):
        return None
    parts, place, has_failed = [1] * len(DENSE_LIMITS), 0, True
    waiting = sorted(factors)
    while waiting:
        limit = DENSE_LIMITS[place]
        if parts[place] < limit and parts[place] * waiting[0] < limit:
            parts[place] *= waiting.pop(0)
            has_failed = False
        place += 1
        if place == len(parts):
            if has_failed:
                return None
            place, has_failed = 0, True
    return parts[0], parts[1], parts[2]


def _prime_factors(number: int) -> list[int]:
    found, factor = [], 2
    while factor * factor <= number:
        if number % factor:
            factor += 1
        else:
            found.append(factor)
            number //= factor
    return [*found, number] if number != 1 else found


def _is_wanted(align: int, name: str, outputs: Collection[str]) -> bool:
    return align == 0 or (align == 1 and name in outputs)


def _ask(graph: Quantized, positions: Mapping[str, int], found: Positions, name: str, position: int) -> None:
    """Ask for a position on the way back from `name`, through what does not change it."""
    item = graph.nodes[name]
    while item.op == FIX_NEURON or item.op in TRANSPARENT:
        if item.op == FIX_NEURON and positions[item.name] != position:
            found[item.name] = position
        item = graph.nodes[item.sources[0]]
