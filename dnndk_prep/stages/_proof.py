"""The proof of the graph stages: the same inputs through the model and through the stage's graph, and the difference.

The inputs are a random probe batch and, where the dataset fits the model, the test images. The first graph stage stores
what the model gives for them: Keras, or TensorFlow for a graph that was taken in, as it came. Every graph stage is held
to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnndk_prep import repeatable
from dnndk_prep.config import Config
from dnndk_prep.data.parts import Part, misfit, with_inputs
from dnndk_prep.errors import ModelFileError
from dnndk_prep.evaluation import score_all
from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.graph.compare import require_same
from dnndk_prep.keras_io.checkpoint import CHECKPOINT, RestoredRunner
from dnndk_prep.stages import _inputs

REFERENCE = "reference.npz"
BATCH = 100
# Outputs of large images (segmentation) would fill the disk: so many values are stored at most, 200 MB in float32.
MAX_VALUES = 50_000_000

Run = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True)
class FittingPart:
    """The test part as the model's input, or the reason why it cannot be."""

    part: Part | None
    reason: str | None = None


@dataclass(frozen=True)
class Reference:
    """What the model gives: for the probe batch, and for the first test images, where there are any."""

    probe: Mapping[str, np.ndarray]
    outputs: Sequence[np.ndarray]
    test_outputs: Sequence[np.ndarray] | None

    @property
    def images(self) -> int:
        return len(self.test_outputs[0]) if self.test_outputs else 0

    def save(self, folder: Path) -> None:
        """Write reference.npz: probe/<input>, probe_output/<number>, test_output/<number>."""
        arrays = {f"probe/{name}": value for name, value in self.probe.items()}
        arrays |= {f"probe_output/{i}": value for i, value in enumerate(self.outputs)}
        arrays |= {f"test_output/{i}": value for i, value in enumerate(self.test_outputs or [])}
        repeatable.save_npz(folder / REFERENCE, arrays)

    @classmethod
    def load(cls, folder: Path) -> Reference:
        """Read what `save` wrote."""
        with np.load(folder / REFERENCE) as file:
            names = list(file)
            probe = {name.removeprefix("probe/"): file[name] for name in names if name.startswith("probe/")}
            outputs = [file[name] for name in names if name.startswith("probe_output/")]
            test = [file[name] for name in names if name.startswith("test_output/")]
        return cls(probe, outputs, test or None)


def fitting_test_part(cfg: Config, inputs: Sequence[TensorSpec]) -> FittingPart:
    """The test part of the configured dataset, where it fits the model's inputs."""
    try:
        part = _inputs.dataset(cfg).test
    except ModelFileError as error:
        if not cfg.model.given:
            raise
        # A model of the user's can be converted without data; calib_input is the first stage that needs them.
        return FittingPart(None, f"dataset {cfg.dataset.name}: {error.problem}")
    if len(part) == 0:
        return FittingPart(None, f"dataset {cfg.dataset.name} has no test part")
    reason = misfit(part, _inputs.preprocess(cfg), {spec.name: spec.shape for spec in inputs})
    if reason:
        return FittingPart(None, f"dataset {cfg.dataset.name} does not fit: {reason}")
    return FittingPart(with_inputs(part, [spec.name for spec in inputs]))


def make_reference(
    cfg: Config, predict: Run, probe: Mapping[str, np.ndarray], inputs: Sequence[TensorSpec], test: FittingPart
) -> Reference:
    """What `predict`, the model itself, gives for the probe batch and the test images."""
    outputs = predict(probe)
    if test.part is None:
        return Reference(probe, outputs, None)
    values = sum(array[0].size for array in outputs if array.ndim)
    fixed = _fixed_batch(inputs) or 1
    images = min(len(test.part), max(1, MAX_VALUES // max(1, values))) // fixed * fixed
    if not images:
        return Reference(probe, outputs, None)
    parts = [predict(feeds) for feeds in _feeds(cfg, test.part, inputs, images)]
    return Reference(probe, outputs, [np.concatenate(arrays) for arrays in zip(*parts, strict=True)])


def prove_artifact(cfg: Config, artifact: GraphArtifact, folder: Path) -> dict[str, Any]:
    """`prove` for a graph; `folder` is that of keras_2_tf, which holds the reference and the kept variables."""
    with RestoredRunner(artifact.graph_def, artifact.output_names, folder / CHECKPOINT) as runner:
        return prove(cfg, runner.run, artifact.inputs, artifact.output_names, Reference.load(folder))


def prove(
    cfg: Config, run: Run, inputs: Sequence[TensorSpec], output_names: Sequence[str], reference: Reference
) -> dict[str, Any]:
    """The facts "proof" and "warnings" of a stage whose graph is computed by `run`.

    Raises NumericsError naming the output where a difference is above 1e-4 x max(1, max|y|).
    """
    got = run(reference.probe)
    proof: dict[str, Any] = {
        "probe": {**_same(got, reference.outputs, output_names, "the probe batch"), "source": "random batch"},
        "test": None,
    }
    test = fitting_test_part(cfg, inputs)
    if test.part is None or reference.test_outputs is None:
        reason = test.reason or "fewer test images than the graph takes at once"
        proof["accuracy"] = {"top1": None, "images": 0, "reason": f"not measured: {reason}"}
        return {"proof": proof, "warnings": []}
    batches = [run(feeds) for feeds in _feeds(cfg, test.part, inputs, reference.images)]
    outputs = [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]
    proof["test"] = _same(outputs, reference.test_outputs, output_names, "the test images")
    proof["accuracy"], warnings = _accuracy(cfg, test.part, outputs)
    return {"proof": proof, "warnings": warnings}


def _same(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray], names: Sequence[str], what: str) -> dict[str, float]:
    return require_same(names, got, wanted, f"the graph differs from what the model gives for {what}")


def _feeds(cfg: Config, part: Part, inputs: Sequence[TensorSpec], images: int) -> Iterator[dict[str, np.ndarray]]:
    for arrays in part.batches(_inputs.preprocess(cfg), _fixed_batch(inputs) or BATCH, range(images)):
        yield {spec.name: array.astype(spec.dtype) for spec, array in zip(inputs, arrays, strict=True)}


def _fixed_batch(inputs: Sequence[TensorSpec]) -> int | None:
    """The number of images that the graph takes, no more and no fewer; None where it takes any."""
    return inputs[0].shape[0] if inputs[0].shape else None


def accuracy_of(cfg: Config, part: Part, outputs: Sequence[np.ndarray]) -> dict[str, Any]:
    """The accuracy of the first output over the images."""
    return _accuracy(cfg, part, outputs)[0]


def _accuracy(cfg: Config, part: Part, outputs: Sequence[np.ndarray]) -> tuple[dict[str, Any], list[str]]:
    """The accuracy of the first output over the images, and findings about the labels."""
    labels = part.label_batches(_inputs.preprocess(cfg), BATCH, range(len(outputs[0])))
    accuracy, problem = score_all(outputs[0], labels, BATCH)
    is_finding = (problem is not None and part.labels is not None) or part.has_masks
    return accuracy, [problem] if problem and is_finding else []
