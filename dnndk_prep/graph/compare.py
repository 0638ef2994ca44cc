"""The one comparison of numbers: what a graph gives, held against what it must give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dnndk_prep.errors import NumericsError

# Relative to the largest value, but not below 1: float32 convolutions summed in another order differ by some 1e-6.
TOLERANCE = 1e-4


def require_same(
    names: Sequence[str], got: Sequence[np.ndarray], wanted: Sequence[np.ndarray], problem: str
) -> dict[str, float]:
    """The difference nearest to its tolerance over all outputs: {"max_abs_diff", "tolerance"}.

    Raises NumericsError, which begins with `problem` and names the output, where a difference is above
    1e-4 x max(1, max|wanted|), or a shape is another.
    """
    worst = {"max_abs_diff": 0.0, "tolerance": TOLERANCE}
    for name, a, b in zip(names, got, wanted, strict=True):
        tolerance = TOLERANCE * max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
        difference = max_abs_diff(a, b)
        if difference > tolerance:
            raise NumericsError(
                f"{problem}: output {name}",
                expected=f"a difference of at most {tolerance:.3g}",
                found=f"{difference:.3g}" if a.shape == b.shape else f"shape {a.shape} instead of {b.shape}",
                remedy="this is a bug of dnndk_prep; please report it with the model",
            )
        if difference / tolerance > worst["max_abs_diff"] / worst["tolerance"]:
            worst = {"max_abs_diff": difference, "tolerance": tolerance}
    return worst


def max_abs_diff(a: np.ndarray, b: np.ndarray) -> float:
    """max|a - b|; NaN and infinity equal themselves alone, and arrays of other shapes differ by infinity."""
    if a.shape != b.shape:
        return np.inf
    differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    difference = np.abs(a[differs].astype(np.float64) - b[differs].astype(np.float64))
    return float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max(initial=0.0))
