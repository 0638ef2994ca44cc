"""Each layer's weights rounded by the error of the layer's own output, and its bias corrected for what that changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dnndk_prep.quant import pow2
from dnndk_prep.quant.best.moments import Layer, collect, layers
from dnndk_prep.quant.best.rounding import Moments, corrected_bias, learned, output_error
from dnndk_prep.quant.best.search import Judge, State, fresh_bias_position
from dnndk_prep.quant.best.trial import Trial, constants_of
from dnndk_prep.quant.calibration import Batch
from dnndk_prep.quant.progress import bar

# Weights are tried at these positions beside the one that the vendor's method chose.
STEPS = (0, 1, -1)
# A layer goes back to the nearest numbers where the held-out error is less by this share without what was learned.
MARGIN = 0.005


@dataclass(frozen=True)
class Proposal:
    """What is proposed for a layer: its constants and their positions, and the error of its output before and after."""

    layer: Layer
    constants: Mapping[str, np.ndarray]
    positions: Mapping[str, int]
    before: float
    after: float


def proposals(judge: Judge, state: State, batches: Sequence[Batch]) -> list[Proposal]:
    """One for each layer whose kind is known; the layers' inputs are those of the quantized graph in `state`."""
    plan = judge.plan
    found = layers(plan.nodes, plan.places.groups)
    found = [layer for layer in found if layer.weights in judge.trial.fixed]
    if not found:
        return []
    exact = constants_of(plan.nodes)
    positions = judge.final_positions(state)
    with Trial(plan.nodes, [layer.name for layer in found], is_float=True) as floats:
        moments = collect(found, floats, judge.trial, batches, exact, judge.values(state, positions), positions)
    return [_proposal(judge, layer, moments[layer.name], exact, positions) for layer in found]


def accepted(
    state: State, found: Sequence[Proposal], error: Callable[[State], float]
) -> tuple[State, float, dict[str, float | None]]:
    """The state with all proposals but those without which the error is less, and what each one gains.

    The gain is the share by which the error would grow without it; None for what was left out.
    """
    current = state
    for one in found:
        current = current.holding(one.constants).moved(one.positions)
    least = error(current)
    gains: dict[str, float | None] = {}
    for one in bar(found, "layers", len(found), "layer"):
        names = [*one.constants]
        without = current.holding({name: state.constants[name] for name in names})
        without = without.moved({name: state.positions[name] for name in names})
        other = error(without)
        if other < least * (1 - MARGIN):
            current, least = without, other
            gains[one.layer.name] = None
        else:
            gains[one.layer.name] = other / max(least, 1e-30) - 1
    return current, least, gains


def _proposal(
    judge: Judge, layer: Layer, wide: Moments, exact: Mapping[str, np.ndarray], positions: Mapping[str, int]
) -> Proposal:
    original = exact[layer.weights]
    weights, fix = layer.parted(original), judge.fixes[layer.weights]
    bits, mode, now = fix.attrs["bit_width"].i, fix.attrs["mode"].i, positions[layer.weights]
    moments = _of_the_same_inputs(wide, weights)

    def nearest(position: int) -> float:
        return output_error(moments, layer.parted(pow2.quantize(original, bits, position, mode)))

    position = min((now + step for step in STEPS), key=lambda one: (nearest(one), abs(one - now)))
    parts = learned(moments, weights, bits, position)
    constants, chosen = {layer.weights: layer.whole(parts)}, {layer.weights: position}
    if layer.bias is not None:
        old = exact[layer.bias]
        bias = old.astype(np.float64).reshape(-1) + corrected_bias(moments, parts).reshape(-1)
        constants[layer.bias] = bias.reshape(old.shape).astype(np.float32)
        chosen[layer.bias] = fresh_bias_position(judge, layer.bias, constants[layer.bias])
    signal = max(float(wide.power.sum()), 1e-30)
    return Proposal(layer, constants, chosen, nearest(now) / signal, output_error(moments, parts) / signal)


def _of_the_same_inputs(moments: Moments, weights: np.ndarray) -> Moments:
    """With what the float weights make of the quantized inputs as the wanted output.

    A layer that also made up for the layers before would be wrong as soon as these are learned, too.
    """
    product = np.matmul(moments.h, weights)
    mean = np.einsum("pk,pko->po", moments.mean_x, weights)
    return Moments(moments.h, product, (weights * product).sum(axis=1), moments.mean_x, mean)
