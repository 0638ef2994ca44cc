"""The whole numbers of weights and activations, in the files that vai_q_tensorflow's `dump` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dnndk_prep.graph.fix_neurons import FIX_NEURON
from dnndk_prep.quant.calibration import Batch, example_count, first_examples, takes_any_batch
from dnndk_prep.quant.fixed import computed
from dnndk_prep.quant.network import Node
from dnndk_prep.quant.simulation import Simulation, rounded

WEIGHTS, FIRST_BATCH = "dump_results_weights", "dump_results_0"
# So many numbers of activations at most: of larger batches the first images.
MOST = 1 << 24
# Each int8 as a line of text, by the byte that it is.
LINES = [f"{value}\n".encode() for value in [*range(128), *range(-128, 0)]]


def dump(folder: Path, nodes: Sequence[Node], outputs: Sequence[str], batch: Batch) -> int:
    """Write dump_results_weights/ and dump_results_0/: <FixNeuron with _ for />.bin (int8) and .txt, a number a line.

    Numbers of more than 8 bits wrap, as in the vendor's. Returns how many examples of the batch were taken.
    """
    running = computed(nodes, outputs)
    fixes = [item for item in nodes if item.op == FIX_NEURON and item.name in running]
    constants = {item.name: item.value for item in rounded(nodes)[0]}
    (folder / WEIGHTS).mkdir(parents=True, exist_ok=True)
    (folder / FIRST_BATCH).mkdir(exist_ok=True)
    moving = [fix for fix in fixes if constants[fix.name] is None]
    for fix in fixes:
        value = constants[fix.name]
        if value is not None:
            _write(folder / (WEIGHTS if fix.name.endswith("/wquant") else FIRST_BATCH), fix, value)
    with Simulation(nodes, outputs) as simulation:
        names = [fix.name for fix in moving]
        taken = _fitting(batch, nodes, simulation, names)
        values = simulation.run(taken, names)
    for fix, value in zip(moving, values, strict=True):
        _write(folder / FIRST_BATCH, fix, value)
    return example_count(taken)


def _fitting(batch: Batch, nodes: Sequence[Node], simulation: Simulation, names: Sequence[str]) -> Batch:
    """As many of the first examples as give MOST numbers, but one; all where the graph takes no fewer."""
    if not takes_any_batch(nodes, batch):
        return batch
    each = sum(value.size for value in simulation.run(first_examples(batch, 1), names))
    return first_examples(batch, max(1, MOST // max(1, each)))


def _write(folder: Path, fix: Node, value: np.ndarray) -> None:
    whole = np.rint(np.ldexp(value.astype(np.float64).reshape(-1), fix.attrs["quantize_pos"].i))
    numbers = whole.astype(np.int64).astype(np.int8)
    name = fix.name.replace("/", "_")
    (folder / f"{name}.bin").write_bytes(numbers.tobytes())
    (folder / f"{name}.txt").write_bytes(b"".join(map(LINES.__getitem__, numbers.view(np.uint8).tobytes())))
