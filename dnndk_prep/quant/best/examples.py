"""The calibration examples as this search uses them: some to learn from, some held out to choose by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dnndk_prep.quant.calibration import Batch, example_count, takes_any_batch
from dnndk_prep.quant.network import Node

# Input values in all examples together, and in a batch; examples at most.
ALL_VALUES, BATCH_VALUES = 1 << 23, 1 << 17
MOST, LEAST, MOST_A_BATCH = 1024, 16, 32
# Every fourth batch is held out.
HELD_OUT = 4


@dataclass(frozen=True)
class Examples:
    """Batches to learn from, and batches to choose by; the same where there is one batch alone."""

    fit: list[Batch]
    held: list[Batch]

    @property
    def counts(self) -> dict[str, int]:
        """Examples in each part."""
        return {"learned_from": _count(self.fit), "held_out": _count(self.held)}


def divided(nodes: Sequence[Node], batches: Iterable[Batch]) -> Examples:
    """The examples in small batches, spread over all of the calibration data where there are more than are needed."""
    given = list(batches)
    if takes_any_batch(nodes, given[0]):
        given = _small([batch for batch in given if takes_any_batch(nodes, batch)])
    if len(given) == 1:
        return Examples(given, given)
    held = [batch for i, batch in enumerate(given) if i % HELD_OUT == HELD_OUT - 1] or given[-1:]
    fit = [batch for batch in given if not any(batch is other for other in held)]
    return Examples(fit, held)


def _small(given: Sequence[Batch]) -> list[Batch]:
    whole = {name: np.concatenate([batch[name] for batch in given]) for name in given[0]}
    total = len(next(iter(whole.values())))
    values = max(1, sum(array[0].size for array in whole.values()))
    count = min(total, MOST, max(LEAST, ALL_VALUES // values))
    chosen = np.unique(np.linspace(0, total - 1, count).astype(int))
    size = max(1, min(MOST_A_BATCH, BATCH_VALUES // values, -(-len(chosen) // HELD_OUT)))
    return [
        {name: array[chosen[start : start + size]] for name, array in whole.items()}
        for start in range(0, len(chosen), size)
    ]


def _count(batches: Sequence[Batch]) -> int:
    return sum(map(example_count, batches))
