"""The value map and the choice of a position, against their definitions on random numbers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from dnndk_prep.quant import pow2
from dnndk_prep.quant.pow2 import ALL_ZERO, Method, Mode

RANDOM = np.random.default_rng(0)
WIDTHS = (2, 4, 8, 10, 16, 24)


def tensors() -> list[np.ndarray]:
    """Numbers of all sizes, some of them halves of a step, one-sided ones, a single one."""
    found = [RANDOM.standard_t(3, 300).astype(np.float32) * np.float32(10.0**exponent) for exponent in range(-8, 8, 3)]
    found += [
        np.abs(found[2]),
        -np.abs(found[3]),
        np.round(found[3] * 4) / 8,
        np.float32([0.1]),
        np.float32([[-3], [0]]),
    ]
    return found


def exact(x: float, bits: int, position: int, mode: int) -> float:
    """The definition, in fractions."""
    steps = Fraction(x) * Fraction(2) ** position
    whole = math.floor(abs(steps) + Fraction(1, 2)) * (1 if steps >= 0 else -1)
    if mode == Mode.ACTIVATION:
        whole = math.floor(steps + Fraction(1, 2))
    return float(min(max(whole, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1) * Fraction(2) ** -position)


@pytest.mark.parametrize("mode", Mode)
def test_values_lie_on_the_grid_where_the_definition_puts_them(mode: Mode):
    for x in tensors():
        for bits in WIDTHS:
            position = pow2.non_overflow(*pow2.extent(x), bits) + int(RANDOM.integers(-1, 5))
            wanted = [exact(float(value), bits, position, mode) for value in x.ravel()]
            np.testing.assert_array_equal(pow2.quantize(x, bits, position, mode).ravel(), np.float32(wanted))


@pytest.mark.parametrize("position", [-30, -3, 0, 7, 40])
def test_halves_and_their_neighbours(position: int):
    halves = np.arange(-130, 130, dtype=np.float32) + np.float32(0.5)
    near = [np.nextafter(halves, np.float32(end)) for end in (-np.inf, np.inf)]
    x = np.ldexp(np.concatenate([halves, *near, np.float32([2**23 + 1, -(2**24), 0, -0.0])]), -position)
    for mode in Mode:
        wanted = [exact(float(value), 8, position, mode) for value in x]
        np.testing.assert_array_equal(pow2.quantize(x, 8, position, mode), np.float32(wanted))


def test_rounding_twice_changes_nothing():
    for x in tensors():
        for mode in Mode:
            once = pow2.quantize(x, 8, pow2.choose(x, 8, Method.MIN_DIFFS, mode), mode)
            position = pow2.non_overflow(*pow2.extent(x), 8)
            np.testing.assert_array_equal(pow2.quantize(once, 16, position + 8, mode), once)


@pytest.mark.parametrize("bits", WIDTHS)
def test_the_non_overflow_position_is_the_greatest_that_cuts_off_half_a_step_at_most(bits: int):
    for x in tensors():
        low, high = pow2.extent(x)
        position = pow2.non_overflow(low, high, bits)
        half = 2 ** (bits - 1)

        def fits(p: int, low: float = low, high: float = high, half: int = half) -> bool:
            return low * 2.0**p >= -half - 0.5 and high * 2.0**p <= half - 0.5

        assert fits(position)
        assert not fits(position + 1)


@pytest.mark.parametrize(("high", "position"), [(1.0, 6), (0.996, 7), (127.5, 0), (127.6, -1), (0.0, ALL_ZERO)])
def test_known_positions(high: float, position: int):
    assert pow2.non_overflow(0.0, high, 8) == position


def test_a_logarithm_just_below_a_whole_number_is_rounded_in_single_precision():
    # 1 / step is the predecessor of 2^40, and its logarithm rounds to 40.
    high = float(np.nextafter(np.float32(127.5 * 2.0**-40), np.float32(1)))
    assert pow2.non_overflow(0.0, high, 8) == 40


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("bits", WIDTHS)
def test_min_diffs_has_the_least_square_error_of_five(bits: int, mode: Mode):
    for x in tensors():
        first = pow2.non_overflow(*pow2.extent(x), bits)
        errors = [
            sum((Fraction(exact(float(v), bits, first + i, mode)) - Fraction(float(v))) ** 2 for v in x.ravel())
            for i in range(5)
        ]
        assert pow2.choose(x, bits, Method.MIN_DIFFS, mode) == first + errors.index(min(errors))


def test_the_relative_method_differs_for_depthwise_weights_alone():
    x = np.concatenate([np.full(50, 0.011, np.float32), np.float32([1.9])])
    for mode in (Mode.WEIGHT, Mode.ACTIVATION):
        assert pow2.choose(x, 8, Method.RELATIVE, mode) == pow2.choose(x, 8, Method.MIN_DIFFS, mode) == 6
    first = pow2.non_overflow(*pow2.extent(x), 8)
    scores = []
    for i in range(5):
        y = np.float64([exact(float(v), 8, first + i, 2) for v in x])
        scores.append(np.sqrt(np.abs((y - x) / (np.abs(x.astype(np.float64)) + 1e-9))).sum())
    assert pow2.choose(x, 8, Method.RELATIVE, Mode.DEPTHWISE_WEIGHT) == first + int(np.argmin(scores)) > 6


def test_ties_take_the_smallest_position():
    # On the grid of every candidate: all errors are zero.
    assert pow2.choose(np.float32([1, -1, 0.5]), 8, Method.MIN_DIFFS, Mode.ACTIVATION) == 6
    assert pow2.most_frequent({7: 3, 5: 3, 6: 2}) == 5


@pytest.mark.parametrize("size", [pow2.BLOCK + 1, 3 * pow2.MANY + 17])
def test_large_arrays_are_computed_in_parts(size: int):
    x = RANDOM.standard_t(3, size).astype(np.float32)
    first = pow2.non_overflow(float(x.min()), float(x.max()), 8)
    errors = [pow2.square_error(x, 8, first + i, 1) for i in range(5)]
    position = pow2.choose(x, 8, Method.MIN_DIFFS, Mode.ACTIVATION)
    assert position == first + int(np.argmin(errors))
    wanted = np.clip(np.floor(x.astype(np.float64) * 2.0**position + 0.5), -128, 127) * 2.0**-position
    np.testing.assert_array_equal(pow2.quantize(x, 8, position, Mode.ACTIVATION), wanted.astype(np.float32))


def test_nan_and_infinity_have_no_position():
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="values from"):
            pow2.choose(np.float32([1, value]), 8, Method.MIN_DIFFS, Mode.WEIGHT)


def test_zeros():
    x = np.zeros((3, 3), np.float32)
    for method in Method:
        assert pow2.choose(x, 8, method, Mode.ACTIVATION) == ALL_ZERO
    np.testing.assert_array_equal(pow2.quantize(x, 8, ALL_ZERO, Mode.ACTIVATION), x)
