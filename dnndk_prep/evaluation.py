"""How well a graph does on labelled data: top-1, top-5 and, with class maps, the mean intersection over union."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dnndk_prep.data.parts import Part
from dnndk_prep.data.preprocess import Preprocess
from dnndk_prep.graph.artifact import TensorSpec

# A result that is nearly always right among five of six classes says nothing.
MANY_CLASSES = 6
BATCH = 100


class Accuracy:
    """Counts over batches of scores and labels; `problem` says why they cannot be compared, once they cannot."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.images = 0
        self._hits = self._among_five = self._labels = self._classes = 0
        self._confusion: np.ndarray | None = None

    def add(self, scores: np.ndarray, labels: np.ndarray | None) -> None:
        """scores: (N, classes) or (N, H, W, classes), one channel for two classes; labels: (N,) or (N, H, W)."""
        self.images += len(scores)
        if self.problem is not None:
            return
        if labels is None:
            self.problem = "the dataset has no labels"
            return
        labels = np.asarray(labels)
        self.problem = _problem(labels, scores)
        if self.problem is not None:
            return
        found = scores.argmax(-1) if scores.shape[-1] > 1 else (scores[..., 0] > 0.5).astype(np.int64)
        self._classes = max(2, scores.shape[-1])
        self._labels += labels.size
        self._hits += int(np.count_nonzero(found == labels))
        if self._classes >= MANY_CLASSES:
            best = np.argpartition(scores, -5, axis=-1)[..., -5:]
            self._among_five += int(np.count_nonzero((best == labels[..., None]).any(-1)))
        if labels.ndim > 1:
            pairs = labels.astype(np.int64).ravel() * self._classes + found.ravel()
            counts = np.bincount(pairs, minlength=self._classes**2).reshape(self._classes, self._classes)
            self._confusion = counts if self._confusion is None else self._confusion + counts

    def result(self) -> dict[str, Any]:
        """top1 and top5 as shares (of pixels, with class maps), mean_iou over the classes that occur, images, reason.

        top5 is told from six classes up. What is not measured is None, and `reason` says why.
        """
        if self.problem is not None or not self._labels:
            reason = f"not measured: {self.problem or 'there are no images'}"
            return {"top1": None, "top5": None, "mean_iou": None, "images": self.images, "reason": reason}
        five = self._among_five / self._labels if self._classes >= MANY_CLASSES else None
        return {
            "top1": self._hits / self._labels,
            "top5": five,
            "mean_iou": None if self._confusion is None else _mean_iou(self._confusion),
            "images": self.images,
            "reason": None,
        }


def evaluate(
    run: Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]],
    inputs: Sequence[TensorSpec],
    part: Part,
    preprocess: Preprocess,
    images: int | None = None,
) -> dict[str, Any]:
    """`Accuracy.result` of the first output that `run` gives for the first `images` of `part`, or for all.

    `part` has the inputs' names and order. Where the first input has a fixed batch, the last batch is filled up with
    its own last image, and what that gives is left out.
    """
    count = len(part) if images is None else min(images, len(part))
    fixed = inputs[0].shape[0] if inputs[0].shape else None
    accuracy = Accuracy()
    batches = part.batches(preprocess, fixed or BATCH, range(count))
    for arrays, labels in zip(batches, part.label_batches(preprocess, fixed or BATCH, range(count)), strict=True):
        feeds = {
            spec.name: _filled(array, fixed).astype(spec.dtype) for spec, array in zip(inputs, arrays, strict=True)
        }
        accuracy.add(np.asarray(run(feeds)[0])[: len(arrays[0])], labels)
    return accuracy.result()


def score_all(
    outputs: np.ndarray, labels: Iterator[np.ndarray | None], batch: int
) -> tuple[dict[str, Any], str | None]:
    """`Accuracy.result` of outputs that are there already, and what is wrong with the labels, if anything is."""
    accuracy = Accuracy()
    for start, of_batch in zip(range(0, len(outputs), batch), labels, strict=True):
        accuracy.add(outputs[start : start + batch], of_batch)
    return accuracy.result(), accuracy.problem


def _filled(array: np.ndarray, size: int | None) -> np.ndarray:
    if size is None or len(array) == size:
        return array
    return np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)])


def _problem(labels: np.ndarray, scores: np.ndarray) -> str | None:
    if scores.ndim < 2 or scores.shape[:-1] != labels.shape:
        return f"labels of shape {labels.shape[1:]} do not match the output of shape {scores.shape[1:]} an image"
    classes = max(2, scores.shape[-1])
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= classes:
        return f"the labels go up to {labels.max()}, but the model tells {classes} classes apart"
    return None


def _mean_iou(confusion: np.ndarray) -> float:
    both = np.diag(confusion)
    either = confusion.sum(0) + confusion.sum(1) - both
    return float((both[either > 0] / either[either > 0]).mean())
