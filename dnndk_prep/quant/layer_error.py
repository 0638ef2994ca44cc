"""How much each FixNeuron loses: by its own layer alone, and with all that came before, against the float graph."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from dnndk_prep.graph.fix_neurons import FIX_NEURON
from dnndk_prep.graph.topology import node_of
from dnndk_prep.quant import pow2
from dnndk_prep.quant.calibration import Batch, example_count, takes_any_batch
from dnndk_prep.quant.fixed import computed
from dnndk_prep.quant.hooked import Hook, HookedGraph
from dnndk_prep.quant.network import Node, by_name
from dnndk_prep.quant.simulation import grid, rounded

# Three copies of each tensor are in memory at once: so many input values at a time, one large image.
VALUES = 1 << 18
NUMBERS = ("sqnr_db", "cosine", "max_error")
COLUMNS = (
    *("node", "kind", "op", "bit_width", "position"),
    *NUMBERS,
    "saturation",
    *(f"cumulative_{name}" for name in NUMBERS),
)


@dataclass
class Error:
    """The distance of rounded values from float ones, added up as they pass."""

    signal: float = 0.0
    noise: float = 0.0
    other: float = 0.0
    product: float = 0.0
    greatest: float = 0.0

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """x: float values, y: those that stand for them."""
        one, two = np.ascontiguousarray(x).reshape(-1), np.ascontiguousarray(y).reshape(-1)
        for signal, other, product, noise, greatest in pow2.over_parts(partial(_sums, one, two), one.size):
            self.signal += signal
            self.other += other
            self.product += product
            self.noise += noise
            self.greatest = max(self.greatest, greatest)

    @property
    def sqnr(self) -> float:
        """Decibels; infinite without noise."""
        if not self.noise:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf

    @property
    def cosine(self) -> float:
        """Of the angle between both; 1 for two that are zero, 0 where one is."""
        both = math.sqrt(self.signal * self.other)
        return self.product / both if both else float(self.signal == self.other)


@dataclass
class LayerError:
    """One FixNeuron: `own` is its layer fed with float values, `total` the whole quantized graph up to it.

    `clipped` of `values` numbers were cut off at either end of the grid.
    """

    fix: Node
    op: str
    own: Error = field(default_factory=Error)
    total: Error = field(default_factory=Error)
    clipped: int = 0
    values: int = 0

    @property
    def saturation(self) -> float:
        """The share of values that were cut off."""
        return self.clipped / self.values if self.values else 0.0

    @property
    def is_activation(self) -> bool:
        return self.fix.attrs["mode"].i == pow2.Mode.ACTIVATION

    def add(self, x: np.ndarray, alone: np.ndarray, before: np.ndarray) -> None:
        """x: the float tensor; alone: the layer's on float inputs; before: the quantized graph's; both not rounded."""
        self.own.add(x, grid(self.fix, alone))
        self.total.add(x, grid(self.fix, before))
        bits, position = (self.fix.attrs[key].i for key in ("bit_width", "quantize_pos"))
        low, high = pow2.bounds(bits)
        self.clipped += int(np.count_nonzero(before < math.ldexp(low - 0.5, -position)))
        self.clipped += int(np.count_nonzero(before > math.ldexp(high + 0.5, -position)))
        self.values += before.size


def measure(
    nodes: Sequence[Node], outputs: Sequence[str], batches: Iterable[Batch], images: int
) -> dict[str, LayerError]:
    """The errors of the FixNeurons that run, by their names, over the first `images` examples.

    The float graph is the prepared one: with equalized weights and the DPU's factors, as far as it has them.
    """
    named, running = by_name(nodes), computed(nodes, outputs)
    fixes = [item for item in nodes if item.op == FIX_NEURON and item.name in running]
    found = {item.name: LayerError(item, named[item.inputs[0]].op) for item in fixes}
    moving: list[Node] = []
    for item in fixes:
        value = named[item.inputs[0]].value
        if value is None:
            moving.append(item)
        else:
            found[item.name].add(value, value, value)
    copies, hooks, ends = _copies(nodes, moving, found)
    if ends:
        with HookedGraph(copies, hooks, ends) as graph:
            for batch in _slices(batches, images, nodes):
                graph.run(batch, only=ends)
    return found


def worst(errors: Mapping[str, LayerError], count: int) -> list[LayerError]:
    """The activations whose own layers lose most, the worst first."""
    return sorted((one for one in errors.values() if one.is_activation), key=lambda one: one.own.sqnr)[:count]


def write_csv(path: Path, errors: Mapping[str, LayerError], names: Mapping[str, str]) -> None:
    """One row a FixNeuron in the order of the graph; `names` are those that the nodes have in positions.json."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, one in errors.items():
            node, _, kind = name.rpartition("/")
            settings = [one.fix.attrs[key].i for key in ("bit_width", "quantize_pos")]
            own = [one.own.sqnr, one.own.cosine, one.own.greatest]
            total = [one.total.sqnr, one.total.cosine, one.total.greatest]
            numbers = [f"{number:.6g}" for number in (*own, one.saturation, *total)]
            writer.writerow([names.get(node, node), kind, one.op, *settings, *numbers])


def _sums(x: np.ndarray, y: np.ndarray, part: slice) -> tuple[float, float, float, float, float]:
    """Of x and y squared, of their product and squared difference, and the largest difference: block by block."""
    signal = other = product = noise = greatest = 0.0
    for start in range(part.start, part.stop, pow2.BLOCK):
        a, b = (array[start : min(start + pow2.BLOCK, part.stop)] for array in (x, y))
        difference = b - a
        signal += float(np.dot(a, a))
        other += float(np.dot(b, b))
        product += float(np.dot(a, b))
        noise += float(np.dot(difference, difference))
        greatest = max(greatest, float(difference.max()), -float(difference.min()))
    return signal, other, product, noise, greatest


def _copies(
    nodes: Sequence[Node], fixes: Sequence[Node], found: Mapping[str, LayerError]
) -> tuple[list[Node], dict[str, Hook], list[str]]:
    """The quantized graph, a float copy, a copy in which each layer reads float values, and what compares them."""
    quantized, hooks = rounded(nodes)
    behind = {item.name: item.inputs[0] for item in nodes if item.op == FIX_NEURON}
    dynamic = {item.name for item in fixes}
    moves = {item.name for item in nodes if item.op not in ("Const", "Placeholder", FIX_NEURON)}

    def in_float(reference: str) -> str:
        source = behind.get(reference, reference)
        return f"float/{source}" if node_of(source) in moves else source

    def alone(reference: str) -> str:
        if reference in dynamic:
            return f"from_float/{reference}"
        return f"alone/{reference}" if node_of(reference) in moves else reference

    result, ends = list(quantized), []
    for item in nodes:
        if item.name in moves:
            result.append(_copy(f"float/{item.name}", item, map(in_float, item.inputs)))
            result.append(_copy(f"alone/{item.name}", item, map(alone, item.inputs)))
    for item in fixes:
        producer = item.inputs[0]
        # What the layers behind it read.
        result.append(Node(f"from_float/{item.name}", item.op, (in_float(producer),)))
        hooks[f"from_float/{item.name}"] = partial(grid, item)
        result.append(Node(f"compare/{item.name}", item.op, (in_float(producer), alone(producer), producer)))
        hooks[f"compare/{item.name}"] = partial(_compared, found[item.name])
        ends.append(f"compare/{item.name}")
    return result, hooks, ends


def _copy(name: str, item: Node, inputs: Iterable[str]) -> Node:
    return Node(name, item.op, tuple(inputs), item.attrs, item.value)


def _compared(error: LayerError, x: np.ndarray, alone: np.ndarray, before: np.ndarray) -> np.ndarray:
    error.add(x, alone, before)
    return np.zeros((), np.float32)


def _slices(batches: Iterable[Batch], images: int, nodes: Sequence[Node]) -> Iterable[Batch]:
    """The first examples, a few at a time where the graph takes so few."""
    left = images
    for batch in batches:
        count = example_count(batch)
        if takes_any_batch(nodes, batch):
            count = min(count, left)
            step = max(1, VALUES // max(1, sum(array[0].size for array in batch.values())))
            for start in range(0, count, step):
                yield {name: array[start : min(start + step, count)] for name, array in batch.items()}
        else:
            yield batch
        left -= count
        if left <= 0:
            return
