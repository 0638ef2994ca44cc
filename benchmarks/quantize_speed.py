"""Measures calibration and simulation beside the TFLite converter and onnxruntime, on one graph and one set of images.

python benchmarks/quantize_speed.py                               MobileNet alpha 0.25 and ResNet50, 224 px, 100 images
python benchmarks/quantize_speed.py --write                       puts the table into docs/reference/quantize_speed.md
python benchmarks/quantize_speed.py --models MobileNet --images 20    a try of two minutes

benchmarks/README.md tells what is compared.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import environments  # noqa: E402
from measure import Words, last_json, machine, middle, run, spread, turns  # noqa: E402

WORKERS = HERE / "workers"
TABLE = HERE.parent / "docs" / "reference" / "quantize_speed.md"
MODELS = {"MobileNet": ("MobileNet", {"alpha": 0.25}), "ResNet50": ("ResNet50", {})}
SIDE, BATCH, SEED = 224, 10, 5
# tf2onnx writes the graph for onnxruntime; what that costs does not count.
ONNX = {"python": "3.11", "pins": ["onnxruntime==1.31.1", "onnx==1.19.1", "tf2onnx==1.17.0", "tensorflow-cpu==2.20.0"]}
OURS, TFLITE, ONNXRUNTIME = "ours", "TFLite", "onnxruntime"
# Seconds and GB of vai_q_tensorflow (TF1) and vai_q_tensorflow2 with 100 images of 224 px on a machine of two cores.
VENDOR = {"MobileNet": ((45, 1.6), (35, 1.6)), "ResNet50": ((488, 1.6), (98, 3.2))}


class Subject:
    """One network: its optimized graph, the same in ONNX, and the images."""

    def __init__(self, name: str, folder: Path, count: int) -> None:
        self.name, self.folder, self.count = name, folder, count
        self.graph, self.onnx = folder / f"{name}.pb", folder / f"{name}.onnx"
        self.images = folder / f"images_{count}.npy"
        self.names = self._made()

    def _made(self) -> list[str]:
        """Write what the ways read, each file once; the names of the graph's input and output."""
        if not self.images.exists():
            np.save(self.images, _images(self.count))
        names = self.folder / f"{self.name}.json"
        if not names.exists():
            found = last_json(run([sys.executable, WORKERS / "quantize_model.py", *self._model(), self.graph])[1])
            inputs, outputs = (f"--{key}s={found[key]}:0" for key in ("input", "output"))
            words: Words = ["-m", "tf2onnx.convert", "--graphdef", self.graph, inputs, outputs, "--output", self.onnx]
            run([environments.python_of(ONNXRUNTIME), *words, "--opset", "18"], environments.without_tensorflow())
            names.write_text(json.dumps([found["input"], found["output"]]))
        return json.loads(names.read_text())

    def _model(self) -> Words:
        kind, settings = MODELS[self.name]
        return [kind, json.dumps(settings)]

    def way(self, name: str) -> dict[str, Any]:
        """One run in a process of its own: its cost, and the seconds inside of calibrating and of running."""
        if name == ONNXRUNTIME:
            python, files = environments.python_of(ONNXRUNTIME), [self.onnx, self.folder / "quantized.onnx"]
        else:
            python, files = Path(sys.executable), [self.graph]
        words: Words = [WORKERS / f"quantize_{name.lower()}.py", *files, self.images, *self.names, str(BATCH)]
        cost, text = run([python, *words], environments.without_tensorflow())
        return {**last_json(text), "wall": cost.wall, "cpu": cost.cpu, "peak": cost.peak}


def _images(count: int) -> np.ndarray:
    """The first images of the Fashion sample in 224 x 224 x 3, from -1 to 1, float32."""
    from dnndk_prep.data.datasets import open_dataset

    part = open_dataset("fashion_mnist_sample", seed=SEED).train
    large = [Image.fromarray(np.uint8(part.load(i))).convert("RGB").resize((SIDE, SIDE)) for i in range(count)]
    return np.stack([np.asarray(image) for image in large]).astype(np.float32) / 127.5 - 1


def measured(names: list[str], rounds: int, count: int, folder: Path) -> dict[str, Any]:
    """All figures; in each round all ways take their turn on each network."""
    subjects = [Subject(name, folder, count) for name in names]
    result: dict[str, Any] = {"machine": machine(), "images": count, "rounds": rounds, "models": {}}
    result["versions"] = {name: metadata.version(name) for name in ("tensorflow", "numpy")}
    result["versions"][ONNXRUNTIME] = ONNX["pins"][0].partition("==")[2]
    result["load"] = [round(os.getloadavg()[0], 1)]
    for number in range(rounds):
        for subject in subjects:
            kept = result["models"].setdefault(subject.name, {})
            for name in (OURS, TFLITE, ONNXRUNTIME):
                found = subject.way(name)
                kept.setdefault(name, []).append(found)
                print(number + 1, subject.name, name, json.dumps(found), flush=True)
    result["load"].append(round(os.getloadavg()[0], 1))
    return result


def markdown(result: dict[str, Any]) -> str:
    """The text of docs/reference/quantize_speed.md."""
    facts = [f"{value} {key}" if key == "processors" else value for key, value in result["machine"].items()]
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    count = result["images"]
    lines = [
        "# Speed of the quantization",
        "",
        f"Written by `python benchmarks/quantize_speed.py --write`. {count} images of {SIDE} x {SIDE} in batches of",
        f"{BATCH}; {', '.join(facts)}; {versions}. {turns(result['rounds'])}.",
        f"Load of the machine before and after: {' and '.join(map(str, result['load']))}.",
        "",
        "Calibrating: from the float graph to int8 with all positions or scales. Running: the same images through the",
        "result. Memory and processor seconds are those of the whole process, imports and both steps.",
        "",
        "| network | way | calibrating, images/s | seconds | running, images/s | processors, s | peak memory, GB |",
        "|---|---|---|---|---|---|---|",
    ]
    for model, ways in result["models"].items():
        for name, found in ways.items():
            column = {key: [one[key] for one in found] for key in ("calibrate", "run", "cpu", "peak")}
            cells = [
                f"{count / middle(column['calibrate']):.1f}",
                spread(column["calibrate"]),
                f"{count / middle(column['run']):.1f}",
                spread(column["cpu"]),
                spread([peak / 1e9 for peak in column["peak"]], 2),
            ]
            lines.append(f"| {model} | {name} | {' | '.join(cells)} |")
        for tool, (seconds, memory) in zip(("vai_q_tensorflow", "vai_q_tensorflow2"), VENDOR[model], strict=True):
            lines.append(f"| {model} | {tool} (not run here) | {100 / seconds:.1f} | {seconds} | - | - | {memory} |")
    lines += [
        "",
        "The figures of the vendor's tools are of another run on two cores, with 100 images of the same size; the",
        "first of them uses one core. MobileNet has `alpha=0.25`. TFLite and onnxruntime run int8 with kernels of",
        "their own, where we and the vendor's tools compute in float and round behind each layer.",
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name}")
    parser.add_argument("--folder", type=Path, help="keep what is made here instead of in a temporary folder")
    args = parser.parse_args()
    environments.ENVIRONMENTS[ONNXRUNTIME] = ONNX
    with tempfile.TemporaryDirectory(prefix="benchmark_") as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        text = markdown(measured(args.models, args.rounds, args.images, folder))
    print(text)
    if args.write:
        TABLE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
