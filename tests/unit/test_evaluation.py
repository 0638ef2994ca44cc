"""Accuracy counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dnndk_prep.data.parts import ArrayPart, with_inputs
from dnndk_prep.data.preprocess import Preprocess
from dnndk_prep.evaluation import Accuracy, evaluate
from dnndk_prep.graph.artifact import TensorSpec


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[labels]


def test_top_1_and_top_5():
    accuracy, scores = Accuracy(), np.tile(np.arange(8, dtype=np.float32), (4, 1))
    accuracy.add(scores[:2], np.array([7, 3]))
    accuracy.add(scores[2:], np.array([2, 0]))
    assert accuracy.result() == {"top1": 0.25, "top5": 0.5, "mean_iou": None, "images": 4, "reason": None}


def test_few_classes_have_no_top_5_and_one_score_is_two_classes():
    accuracy = Accuracy()
    accuracy.add(np.array([[0.9], [0.2], [0.6]]), np.array([1, 0, 0]))
    result = accuracy.result()
    assert result["top1"] == pytest.approx(2 / 3)
    assert result["top5"] is None


def test_mean_iou_over_the_classes_that_occur():
    accuracy = Accuracy()
    labels = np.array([[[0, 0], [1, 1]]])
    accuracy.add(one_hot(np.array([[[0, 1], [1, 1]]]), 3), labels)
    result = accuracy.result()
    assert result["top1"] == 0.75
    # Class 0: 1 of 2, class 1: 2 of 3; class 2 occurs nowhere.
    assert result["mean_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("labels", "told"), [(None, "no labels"), (np.array([[1], [2]]), "do not match"), (np.array([0, 9]), "go up to 9")]
)
def test_what_cannot_be_compared_is_said(labels: np.ndarray | None, told: str):
    accuracy = Accuracy()
    accuracy.add(np.ones((2, 4), np.float32), labels)
    result = accuracy.result()
    assert result["top1"] is None
    assert told in result["reason"]


@pytest.mark.parametrize(("batch", "sizes"), [(None, {7}), (3, {3}), (1, {1})])
def test_a_fixed_batch_is_filled_up(batch: int | None, sizes: set[int]):
    labels = np.array([0, 1, 2, 0, 1, 2, 1])
    part = with_inputs(ArrayPart({"": one_hot(labels, 3)}, labels), ["x"])
    seen = []

    def run(feeds):
        seen.append(feeds["x"].shape[0])
        return [feeds["x"]]

    result = evaluate(run, [TensorSpec("x", (batch, 3), "float32")], part, Preprocess())
    assert (result["top1"], result["images"]) == (1.0, 7)
    assert set(seen) == sizes
    assert evaluate(run, [TensorSpec("x", (batch, 3), "float32")], part, Preprocess(), 2)["images"] == 2
