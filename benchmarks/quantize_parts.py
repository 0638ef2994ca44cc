"""Which part of a network loses the accuracy to int8: each is rounded alone, by the vendor's positions.

python benchmarks/quantize_parts.py --model cifar --test 500
python benchmarks/quantize_parts.py --model fer --test 1000

The models and images are those of quantize_best.py, and so is the error: square, relative to the float outputs.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from quantize_best import batches_of, outputs_of, plan_of
from quantize_subjects import SUBJECTS, Subject

import dnndk_prep
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.quant.best.trial import Trial, constants_of, rounded_values
from dnndk_prep.quant.network import Node
from dnndk_prep.quant.vendor import quantize

Constants = Mapping[str, np.ndarray]


def main() -> None:
    """Print the table of one network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(SUBJECTS), default="cifar")
    parser.add_argument("--test", type=int, default=500, help="test images at most")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "dnndk_prep-benchmarks")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    subject = SUBJECTS[args.model](args.folder)
    frozen = dnndk_prep.open_model(subject.model).to_graph().freeze(reader="1.15")
    parts = Parts(frozen.optimize().artifact, subject, args.test)
    print(f"{subject.name}, {len(parts.images)} test images\n")
    print("| what is rounded | top-1 | as float | error |\n|---|---|---|---|")
    parts.say("nothing", activations=False, weights=())
    parts.say("everything", activations=True, weights=parts.exact)
    parts.say("all activations, no weights", activations=True, weights=())
    parts.say("all weights, no activations", activations=False, weights=parts.exact)
    alone = {name: parts.say(f"`{name}` alone", activations=False, weights=(name,)) for name in parts.exact}
    worst = max(alone, key=alone.__getitem__)
    parts.say(f"everything but `{worst}`", activations=True, weights=[name for name in parts.exact if name != worst])
    of_inputs = np.abs(parts.exact[worst]).max(axis=(0, 1, 3)) if parts.exact[worst].ndim == 4 else np.zeros(1)
    print(
        f"\n`{worst}`: position {parts.positions[worst]}, largest {np.abs(parts.exact[worst]).max():.3g},"
        f" median of the input channels' largest {np.median(of_inputs):.3g}"
    )
    zeros = np.mean(parts.rounded[worst] == 0) - np.mean(parts.exact[worst] == 0)
    print(f"\n{100 * zeros:.0f} % of the numbers of `{worst}` are rounded to zero")


class Parts:
    """The vendor's plan of a graph, whose tensors are rounded or not as one asks."""

    def __init__(self, artifact: GraphArtifact, subject: Subject, count: int) -> None:
        plan = plan_of(artifact, subject)
        made = quantize(plan, batches_of(artifact, subject.calibration))
        fixes: dict[str, Node] = {item.name: item for item in made.nodes}
        self.images = subject.test[:count]
        self.exact = constants_of(made.nodes)
        self.rounded = rounded_values(self.exact, fixes, made.positions)
        self._artifact, self.positions = artifact, made.positions
        self._trials = {key: Trial(made.nodes, plan.prepared.outputs, is_float=not key) for key in (True, False)}
        self._labels = None if subject.labels is None else subject.labels[:count].reshape(-1)
        self._wanted = self._outputs(activations=False, constants=self.exact)

    def say(self, what: str, activations: bool, weights: Iterable[str]) -> float:
        """A row of the table; the error."""
        chosen = set(weights)
        constants = {name: (self.rounded if name in chosen else self.exact)[name] for name in self.exact}
        got = self._outputs(activations, constants)
        classes, wanted = got.argmax(axis=1), self._wanted.argmax(axis=1)
        top1 = "-" if self._labels is None else f"{100 * np.mean(classes == self._labels):.1f} %"
        error = float(np.square(got - self._wanted).sum() / np.square(self._wanted).sum())
        print(f"| {what} | {top1} | {100 * np.mean(classes == wanted):.1f} % | {error:.3g} |", flush=True)
        return error

    def _outputs(self, activations: bool, constants: Constants) -> np.ndarray:
        run = partial(self._trials[activations].run, values=constants, positions=self.positions)
        return outputs_of(run, self._artifact, self.images)


if __name__ == "__main__":
    main()
