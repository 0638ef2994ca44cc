"""Runs the calibration batches through a graph in which each FixNeuron chooses its position anew, batch by batch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from dnndk_prep.errors import StageError
from dnndk_prep.graph.fix_neurons import FIX_NEURON
from dnndk_prep.quant import pow2
from dnndk_prep.quant.fixed import computed, ends_of
from dnndk_prep.quant.hooked import Hook, HookedGraph
from dnndk_prep.quant.network import Node, by_name, const

Batch = Mapping[str, np.ndarray]
# What a FixNeuron that never ran has.
NEVER_RUN = 0


@dataclass
class Seen:
    """What passed one FixNeuron: how many batches chose which position, and the extremes of all values."""

    counts: Counter[int] = field(default_factory=Counter)
    low: float = math.inf
    high: float = -math.inf

    @property
    def position(self) -> int:
        return pow2.most_frequent(self.counts) if self.counts else NEVER_RUN

    def add(self, position: int, low: float, high: float) -> None:
        """Note what one batch chose, and its extremes."""
        self.counts[position] += 1
        self.low, self.high = min(self.low, low), max(self.high, high)


def calibrate(nodes: Sequence[Node], outputs: Sequence[str], batches: Iterable[Batch]) -> dict[str, Seen]:
    """What each FixNeuron of `nodes` saw, by its name.

    Each batch counts by itself, and what comes later sees what was rounded before. Constants are looked at once. One
    pass, no activation is kept. Raises StageError where a value is no finite number.
    """
    named, running = by_name(nodes), computed(nodes, outputs)
    fixes = [item for item in nodes if item.op == FIX_NEURON]
    seen = {item.name: Seen() for item in fixes}
    fixed: dict[str, Node] = {}
    hooks: dict[str, Hook] = {}
    for item in fixes:
        hook = partial(_chosen, item, seen[item.name])
        value = named[item.inputs[0]].value
        if value is None:
            hooks[item.name] = hook
        elif item.name in running:
            fixed[item.name] = const(item.name, hook(value))
    count = 0
    with HookedGraph([fixed.get(item.name, item) for item in nodes], hooks, ends_of(nodes, outputs)) as graph:
        for batch in batches:
            graph.run(batch, only=ends_of(nodes, outputs))
            count += 1
    for name in fixed:
        seen[name].counts = Counter(dict.fromkeys(seen[name].counts, count))
    return seen


def _chosen(fix: Node, seen: Seen, x: np.ndarray) -> np.ndarray:
    """x as the FixNeuron lets it through, at the position that it chooses for it."""
    bits, mode, method = (fix.attrs[key].i for key in ("bit_width", "mode", "method"))
    if not x.size:
        raise StageError(f"{fix.inputs[0]} is empty", expected="at least one value in each batch", found=str(x.shape))
    low, high = pow2.extent(x)
    if not math.isfinite(low) or not math.isfinite(high):
        raise StageError(
            f"{fix.inputs[0]} is not finite on the calibration data",
            expected="numbers: positions that are chosen from anything else mean nothing",
            found=f"values from {low} to {high}",
            remedy="look for NaN and infinity in the weights and in the data",
        )
    position = pow2.choose(x, bits, method, mode, (low, high))
    seen.add(position, low, high)
    return pow2.quantize(x, bits, position, mode)


def takes_any_batch(nodes: Iterable[Node], batch: Batch) -> bool:
    """Whether the graph takes any number of the batch's examples, and each array has the same number."""
    shapes = [item.attrs["shape"].shape for item in nodes if item.op == "Placeholder" and "shape" in item.attrs]
    is_free = all(shape.unknown_rank or (len(shape.dim) > 0 and shape.dim[0].size == -1) for shape in shapes)
    return is_free and len({len(array) if array.ndim else None for array in batch.values()}) == 1


def example_count(batch: Batch) -> int:
    """The number of examples in a batch, whose other arrays may be single numbers."""
    return next((len(array) for array in batch.values() if array.ndim), 1)


def first_examples(batch: Batch, count: int) -> Batch:
    """The first `count` examples of a batch."""
    return {name: array[:count] for name, array in batch.items()}
