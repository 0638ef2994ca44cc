"""One candidate after another: what lowers the error of the network's outputs stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dnndk_prep.graph.fix_neurons import FIX_NEURON
from dnndk_prep.quant import pow2
from dnndk_prep.quant.best.trial import Trial, constants_of, rounded_values
from dnndk_prep.quant.calibration import Batch
from dnndk_prep.quant.network import Node
from dnndk_prep.quant.progress import bar
from dnndk_prep.quant.vai_q_tf1.adjust import adjusted
from dnndk_prep.quant.vendor import Plan

Outputs = Sequence[np.ndarray]
# A position is moved for no less a share of the error.
MARGIN = 0.005


@dataclass(frozen=True)
class State:
    """Positions before alignment and shifts, and float constants, both by FixNeuron."""

    positions: Mapping[str, int]
    constants: Mapping[str, np.ndarray]

    def moved(self, positions: Mapping[str, int]) -> State:
        """With other positions for some."""
        return replace(self, positions={**self.positions, **positions})

    def holding(self, constants: Mapping[str, np.ndarray]) -> State:
        """With other constants for some."""
        return replace(self, constants={**self.constants, **constants})


@dataclass
class Judge:
    """Measures states of one plan by the outputs' distance from those of the float graph."""

    plan: Plan
    trial: Trial
    fixes: dict[str, Node] = field(init=False)

    def __post_init__(self) -> None:
        self.fixes = {item.name: item for item in self.plan.nodes if item.op == FIX_NEURON}
        # By constant and position: the last value, and what it was rounded to. States share most of theirs.
        self._rounded: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}

    def final_positions(self, state: State) -> dict[str, int]:
        """The positions after alignment and within the shifts that the DPU can do."""
        plan = self.plan
        current = dict(state.positions)
        for _ in range(4):
            positions, changes = adjusted(plan.nodes, plan.places.groups, plan.prepared.outputs, plan.settings, current)
            if not changes:
                break
            current = positions
        return current

    def values(self, state: State, positions: Mapping[str, int]) -> dict[str, np.ndarray]:
        """The constants on their grids."""
        result = {}
        for name, value in state.constants.items():
            key = (name, positions[name])
            if key not in self._rounded or self._rounded[key][0] is not value:
                self._rounded[key] = (value, rounded_values({name: value}, self.fixes, positions)[name])
            result[name] = self._rounded[key][1]
        return result

    def error(self, state: State, batches: Sequence[Batch], targets: Sequence[Outputs]) -> float:
        """The mean over the outputs of squared error by squared signal."""
        positions = self.final_positions(state)
        values = self.values(state, positions)
        noise: list[float] = []
        signal: list[float] = []
        for batch, wanted in zip(batches, targets, strict=True):
            got = self.trial.run(batch, values, positions)
            pairs = list(zip(got, wanted, strict=True))
            noise = _added(noise, [float(np.square(a.astype(np.float64) - b).sum()) for a, b in pairs])
            signal = _added(signal, [float(np.square(b.astype(np.float64)).sum()) for _, b in pairs])
        return float(np.mean([n / max(s, 1e-30) for n, s in zip(noise, signal, strict=True)]))


def _added(total: list[float], more: list[float]) -> list[float]:
    return [a + b for a, b in zip(total, more, strict=True)] if total else more


def start(plan: Plan, positions: Mapping[str, int]) -> State:
    """The state with the plan's own constants."""
    return State(dict(positions), constants_of(plan.nodes))


def shifted_activations(
    judge: Judge, state: State, error: Callable[[State], float], held_out: Callable[[State], float]
) -> tuple[State, float, dict[str, int]]:
    """Activations moved by a position each, in the order of the graph, where both errors fall.

    Returns the state, its held-out error, and by how many places each FixNeuron was moved.
    """
    least, kept = error(state), held_out(state)
    moved: dict[str, int] = {}
    for name in bar(judge.trial.moving, "positions", len(judge.trial.moving), "tensor"):
        for step in (1, -1):
            trial = state.moved({name: state.positions[name] + step})
            if judge.final_positions(trial) == judge.final_positions(state):
                continue
            found = error(trial)
            if found >= least * (1 - MARGIN):
                continue
            other = held_out(trial)
            if other < kept * (1 - MARGIN):
                state, least, kept = trial, found, other
                moved[name] = step
                break
    return state, kept, moved


def fresh_bias_position(judge: Judge, name: str, value: np.ndarray) -> int:
    """Where the vendor's method would put a constant."""
    fix = judge.fixes[name]
    bits, method, mode = (fix.attrs[key].i for key in ("bit_width", "method", "mode"))
    return pow2.choose(value, bits, method, mode)
