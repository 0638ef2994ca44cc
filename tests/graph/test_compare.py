"""The one comparison: what is near enough, and what is said of the rest."""

import numpy as np
import pytest

from dnndk_prep.errors import NumericsError
from dnndk_prep.graph.compare import max_abs_diff, require_same


def test_the_tolerance_grows_with_the_values_but_not_below_one():
    small, large = np.array([0.5, 0.1], np.float32), np.array([5000.0, 1.0], np.float32)
    assert require_same(["y"], [small + np.float32(5e-5)], [small], "it broke")["tolerance"] == pytest.approx(1e-4)
    assert require_same(["y"], [large + np.float32(0.25)], [large], "it broke") == {
        "max_abs_diff": 0.25,
        "tolerance": pytest.approx(0.5),
    }
    with pytest.raises(NumericsError, match=r"it broke: output y(.|\n)*at most 0.0001(.|\n)*0.0002"):
        require_same(["x", "y"], [small, small + np.float32(2e-4)], [small, small], "it broke")


def test_the_output_nearest_to_its_tolerance_is_told():
    outputs = [np.zeros(1), np.full(1, 1000.0)]
    got = [outputs[0] + 5e-5, outputs[1] + 1e-3]
    assert require_same(["a", "b"], got, outputs, "it broke")["max_abs_diff"] == pytest.approx(5e-5)


def test_shapes_are_told():
    with pytest.raises(NumericsError, match=r"shape \(2,\) instead of \(1,\)"):
        require_same(["y"], [np.zeros(2)], [np.zeros(1)], "it broke")


@pytest.mark.parametrize(("a", "b"), [(np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0), (np.inf, -np.inf), (np.nan, np.inf)])
def test_nan_and_infinity_equal_themselves_alone(a: float, b: float):
    assert max_abs_diff(np.array([a, 1]), np.array([b, 1])) == np.inf
    assert max_abs_diff(np.array([a, 1]), np.array([a, 1])) == 0
    with pytest.raises(NumericsError):
        require_same(["y"], [np.array([a])], [np.array([b])], "it broke")
