"""Learned rounding by the network's own error: weights and biases go up or down so that the outputs stay right.

The graph is computed as the DPU will, every tensor rounded; the gradient goes through each rounding as if it were not
there. What is learned is where each weight lies beside its own value, at most `REACH` steps of its grid away: a number
between two neighbours of the grid decides for one of them. The last rates are small, so that few change their side
in the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from dnndk_prep.quant.best.search import Judge, Outputs, State
from dnndk_prep.quant.best.trial import rounded_values
from dnndk_prep.quant.calibration import Batch
from dnndk_prep.quant.progress import bar

REACH = 1.0
# The first and the last update, in steps of the grid, times the number of updates: however many there are, a weight can
# go about two steps.
FIRST_RATE, LAST_RATE = 4.0, 0.4
# Adam's, as its authors have them.
MEAN_DECAY, SQUARE_DECAY, TINY = 0.9, 0.999, 1e-12


# Values that all FixNeurons together may round in the course of learning, and the updates made at least and at
# most: a minute or two of two cores for small networks.
WORK, LEAST_UPDATES, MOST_UPDATES = 1 << 30, 48, 256


def affordable_updates(judge: Judge, state: State, batch: Batch) -> int:
    """How many updates with batches like this one there is work for; the same on every machine."""
    positions = judge.final_positions(state)
    values = judge.trial.run(batch, judge.values(state, positions), positions, judge.trial.moving)
    each = sum(value.size for value in values)
    return max(LEAST_UPDATES, min(MOST_UPDATES, WORK // max(1, each)))


class _Adam:
    """One array's update in units of its grid's step."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._mean, self._square, self._count = np.zeros(shape), np.zeros(shape), 0

    def update(self, gradient: np.ndarray) -> np.ndarray:
        """About -1 to 1 for each number."""
        self._count += 1
        self._mean += (1 - MEAN_DECAY) * (gradient - self._mean)
        self._square += (1 - SQUARE_DECAY) * (np.square(gradient) - self._square)
        mean = self._mean / (1 - MEAN_DECAY**self._count)
        square = self._square / (1 - SQUARE_DECAY**self._count)
        return mean / (np.sqrt(square) + TINY)


def learned_state(
    judge: Judge,
    state: State,
    ends: Sequence[str],
    batches: Sequence[Batch],
    targets: Sequence[Outputs],
    updates: int,
    held_out: Callable[[State], float],
    looks: int = 6,
) -> tuple[State, float]:
    """The best of the states on the way by `held_out`, the given one among them, and its error.

    targets: the float values of `ends` by batch. All constants that the graph reads are learned.
    """
    names = list(judge.trial.fixed)
    positions = judge.final_positions(state)
    gradients = judge.trial.gradients(ends, names)
    names = [name for name, found in zip(names, gradients.found, strict=True) if found is not None]
    first = {name: state.constants[name].astype(np.float64) for name in names}
    current = dict(first)
    step = {name: math.ldexp(1.0, -positions[name]) for name in names}
    adam = {name: _Adam(first[name].shape) for name in names}
    best, least = state, held_out(state)
    every = max(1, updates // looks)
    for i in bar(range(updates), "learned rounding", updates, "update"):
        k = i % len(batches)
        rate = FIRST_RATE / updates * (LAST_RATE / FIRST_RATE) ** (i / max(1, updates - 1))
        trial = state.holding({name: value.astype(np.float32) for name, value in current.items()})
        values = dict(rounded_values(trial.constants, judge.fixes, positions))
        _, found = gradients(batches[k], values, positions, targets[k])
        for name, gradient in zip(names, found, strict=True):
            moved = current[name] - rate * step[name] * adam[name].update(gradient.astype(np.float64) * step[name])
            reach = REACH * step[name]
            current[name] = np.clip(moved, first[name] - reach, first[name] + reach)
        if (i + 1) % every == 0:
            trial = state.holding({name: value.astype(np.float32) for name, value in current.items()})
            error = held_out(trial)
            if error < least:
                best, least = trial, error
    return best, least
