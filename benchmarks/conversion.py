"""Measures .h5 -> optimized graph beside the flow of 2019, tf2onnx and TensorFlow's own optimizer, in one run.

python benchmarks/conversion.py                              all networks, three rounds, a table on the terminal
python benchmarks/conversion.py --write                      the same, and results.json and results.md beside this file
python benchmarks/conversion.py --models Small --rounds 1    a network of a few seconds

benchmarks/README.md tells what is compared.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import environments  # noqa: E402
import table  # noqa: E402
from measure import Cost, Words, last_json, machine, run  # noqa: E402

from dnndk_prep.quiet import quiet_start  # noqa: E402

WORKERS = HERE / "workers"
MODELS = ("MobileNetV2", "ResNet50", "VGG16")
SIDES = {"Small": 64}
# The newest release that tf2onnx converts a Keras file with: it needs Keras 2, which TF_USE_LEGACY_KERAS chooses.
TF2ONNX = {"python": "3.11", "pins": ["tf2onnx==1.17.0", "tensorflow-cpu==2.20.0", "tf_keras==2.20.1"]}
OLD, ONNX = "1.15", "tf2onnx"
OLD_TOOLS = "tensorflow.python.tools"
# For tf2onnx, which would otherwise take all that the machine has and end other work.
MEMORY = 14 * 10**9
OURS, FLOW_2019, TO_ONNX = "ours", "flow of 2019", "tf2onnx"


class Runs:
    """One network's .h5, and a folder for what is made of it."""

    def __init__(self, model: str, folder: Path) -> None:
        self.model = model
        self.h5 = folder / f"{model}.h5"
        self.out = folder / model
        self.out.mkdir(exist_ok=True)
        self.workspace = self.out / "workspace"
        self.optimized = self.workspace / "optimize_for_inference" / "optimized_graph.pb"

    def ours(self) -> Cost:
        """All stages in one process, each graph proven; from an empty workspace."""
        shutil.rmtree(self.workspace, ignore_errors=True)
        yaml = self.out / "pipeline.yaml"
        yaml.write_text(f"model:\n  path: {self.h5}\n")
        words: Words = ["run", yaml, "--workspace", self.workspace, "--to", "optimize_for_inference"]
        return run([sys.executable, "-m", "dnndk_prep", *words])[0]

    def flow_2019(self) -> Cost:
        """Three processes of TensorFlow 1.15; nothing is proven."""
        folder, environment = self.out / "2019", environments.without_tensorflow()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        python = environments.python_of(OLD)
        first = run([python, WORKERS / "keras_2_tf_tf115.py", self.h5, folder], environment)[0]
        source, output = self.names_2019()
        checkpoint = folder / "tf_chkpt.ckpt"
        # The graph with its Saver: with --input_graph the tool cannot load resource variables.
        freeze = [f"--input_meta_graph={checkpoint}.meta", f"--input_checkpoint={checkpoint}", "--input_binary=true"]
        freeze += [f"--output_graph={folder}/frozen.pb", f"--output_node_names={output}"]
        second = run([python, "-m", f"{OLD_TOOLS}.freeze_graph", *freeze], environment)[0]
        optimize = [f"--input={folder}/frozen.pb", f"--output={folder}/optimized.pb", "--frozen_graph=True"]
        optimize += [f"--input_names={source}", f"--output_names={output}"]
        third = run([python, "-m", f"{OLD_TOOLS}.optimize_for_inference", *optimize], environment)[0]
        return first.then(second).then(third)

    def names_2019(self) -> list[str]:
        return (self.out / "2019" / "names.txt").read_text().split()

    def tf2onnx(self) -> Cost:
        words: Words = ["-m", "tf2onnx.convert", "--keras", self.h5, "--output", self.out / "model.onnx"]
        environment = {**environments.without_tensorflow(), "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        return run([environments.python_of(ONNX), *words], environment, MEMORY)[0]

    def rewriting(self, way: str) -> dict[str, float]:
        """Seconds of the rewriting alone, of the graph that `ours` froze; see workers/rewrites.py."""
        words: Words = [way, self.workspace / "freeze_graph", self.out / f"{way}.pb"]
        cost, text = run([sys.executable, WORKERS / "rewrites.py", *words])
        return {**last_json(text), "peak": cost.peak}

    def ops(self) -> dict[str, dict[str, int]]:
        """How many nodes of each op the results have."""
        graphs = {OURS: self.optimized, FLOW_2019: self.out / "2019" / "optimized.pb", "TensorFlow": self.theirs}
        counts = {name: _ops(path) for name, path in graphs.items()}
        if (self.out / "model.onnx").exists():
            text = run([environments.python_of(ONNX), WORKERS / "onnx_ops.py", self.out / "model.onnx"])[1]
            counts[TO_ONNX] = last_json(text)
        return counts

    @property
    def theirs(self) -> Path:
        return self.out / "theirs.pb"

    def speed(self, runs: int) -> dict[str, Any]:
        """Seconds of each inference, ours beside TensorFlow's own optimized graph, in 1.15 and in today's."""
        facts = json.loads((self.optimized.parent / "graph.json").read_text())
        ends = {"input": facts["inputs"][0]["name"], "output": facts["outputs"][0]["name"]}
        ours = {"file": str(self.optimized), **ends}
        source, output = self.names_2019()
        old = {"file": str(self.out / "2019" / "optimized.pb"), "input": source, "output": output}
        new = {"file": str(self.theirs), **ends}
        result = {}
        for python, rival in ((environments.python_of(OLD), old), (sys.executable, new)):
            wanted = {
                "batch": 1,
                "side": SIDES.get(self.model, 224),
                "runs": runs,
                "graphs": {OURS: ours, "TensorFlow": rival},
            }
            text = run([python, WORKERS / "speed.py", json.dumps(wanted)], environments.without_tensorflow())[1]
            found = last_json(text)
            result[found["tensorflow"]] = found
        return result


def _ops(path: Path) -> dict[str, int]:
    with quiet_start():
        from tensorflow.core.framework.graph_pb2 import GraphDef

    return dict(Counter(node.op for node in GraphDef.FromString(path.read_bytes()).node))


def measured(models: list[str], rounds: int, runs: int, folder: Path) -> dict[str, Any]:
    """All figures; in each round all ways take their turn on each network."""
    say(f"the networks: {', '.join(models)}")
    old = environments.without_tensorflow()
    run([environments.python_of(OLD), WORKERS / "models_tf115.py", folder, *models], old)
    result: dict[str, Any] = {"machine": machine(), "versions": _versions(), "rounds": rounds, "models": {}}
    result["load"] = [round(os.getloadavg()[0], 1)]
    for number in range(rounds):
        for model in models:
            one = Runs(model, folder)
            kept = result["models"].setdefault(model, {"conversion": {}, "rewriting": {}})
            for name, way in ((OURS, one.ours), (FLOW_2019, one.flow_2019), (TO_ONNX, one.tf2onnx)):
                cost = way()
                kept["conversion"].setdefault(name, []).append(asdict(cost))
                say(f"{number + 1}  {model:<12} {name:<13} {cost}")
            for kind in ("ours", "proven", "theirs"):
                found = one.rewriting(kind)
                kept["rewriting"].setdefault(kind, []).append(found)
                say(f"{number + 1}  {model:<12} rewriting: {kind:<7} {found['wall']:6.2f} s")
    for model in models:
        one = Runs(model, folder)
        result["models"][model] |= {"ops": one.ops(), "speed": one.speed(runs)}
    result["load"].append(round(os.getloadavg()[0], 1))
    return result


def _versions() -> dict[str, str]:
    ours = {name: metadata.version(name) for name in ("tensorflow", "tf_keras", "keras", "numpy")}
    rivals = dict(pin.split("==") for pin in TF2ONNX["pins"])
    return {"Python": sys.version.split()[0], **ours, "flow of 2019": f"TensorFlow {OLD}"} | {
        "tf2onnx": f"{rivals['tf2onnx']} with TensorFlow {rivals['tensorflow-cpu']}"
    }


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=60, help="inferences of each graph")
    parser.add_argument("--write", action="store_true", help="write results.json and results.md")
    parser.add_argument("--folder", type=Path, help="keep what is made here instead of in a temporary folder")
    args = parser.parse_args()
    environments.ENVIRONMENTS[ONNX] = TF2ONNX
    with tempfile.TemporaryDirectory(prefix="benchmark_") as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        result = measured(args.models, args.rounds, args.runs, folder)
    text = table.markdown(result)
    say(text)
    if args.write:
        (HERE / "results.json").write_text(json.dumps(result, indent=1) + "\n")
        (HERE / "results.md").write_text(text)


if __name__ == "__main__":
    main()
