"""Learned rounding: each weight goes up or down so that the layer's output on the calibration data stays right.

The error of a layer's output is a quadratic function of its weights: of the inputs it takes no more than their second
moments. Weight by weight, the nearest number of the grid to the minimum along this weight is taken, until none moves;
the error never grows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dnndk_prep.quant import pow2

SWEEPS = 6
# Towards the weights themselves, as a share of the inputs' mean square: data that say nothing change nothing.
PULL = 0.01


@dataclass(frozen=True)
class Moments:
    """Of the inputs that meet a weight: h second moments (parts, K, K), c those with the wanted output (parts, K, O).

    A convolution has one part, a depthwise one a part for each channel. `mean_x` (parts, K) and `mean_y` (parts, O) are
    those of what h and c were centred by, where the layer has a bias; `power` (parts, O) is the output's second moment.
    """

    h: np.ndarray
    c: np.ndarray
    power: np.ndarray
    mean_x: np.ndarray
    mean_y: np.ndarray


def output_error(moments: Moments, weights: np.ndarray) -> float:
    """The mean squared error of the layer's output summed over its channels; weights: (parts, K, O)."""
    hw = np.matmul(moments.h, weights)
    return float((weights * (hw - 2 * moments.c)).sum() + moments.power.sum())


def learned(moments: Moments, weights: np.ndarray, bits: int, position: int) -> np.ndarray:
    """The weights (parts, K, O) on the grid of `position`, as float64."""
    step = 2.0**-position
    low, high = (bound * step for bound in pow2.bounds(bits))
    pull = PULL * np.einsum("pkk->p", moments.h) / moments.h.shape[1] + 1e-12
    h = moments.h + pull[:, None, None] * np.eye(moments.h.shape[1])
    c = moments.c + pull[:, None, None] * weights
    diagonal = np.einsum("pkk->pk", h)
    current = weights.copy()
    slope = np.matmul(h, current) - c
    for sweep in range(SWEEPS):
        moved = 0
        for k in range(current.shape[1]):
            wanted = current[:, k] - slope[:, k] / diagonal[:, k, None]
            new = np.clip(np.floor(wanted / step + 0.5) * step, low, high)
            change = new - current[:, k]
            if change.any():
                moved += 1
                current[:, k] = new
                slope += h[:, :, k, None] * change[:, None, :]
        if sweep and not moved:
            break
    return current


def corrected_bias(moments: Moments, weights: np.ndarray) -> np.ndarray:
    """The bias (parts, O) with which the layer's output has the wanted mean; weights: (parts, K, O)."""
    return moments.mean_y - np.einsum("pk,pko->po", moments.mean_x, weights)
