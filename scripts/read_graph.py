"""Read a workspace's graphs with whatever TensorFlow runs this, and hold their numbers to Keras' own.

    python read_graph.py WORKSPACE

For the container's target `reader`; imports nothing of dnndk_prep and runs on Python 3.6 and later with TensorFlow 1.9
to 1.15. Exit code 0: all graphs gave Keras' numbers; 5: one did not, or could not be read; 3: a file is missing, or a
graph cannot run alone.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

# 1.15 warns about every name outside compat.v1; 1.9 has no compat.v1.
v1 = getattr(tf.compat, "v1", tf)

STAGES = ("freeze_graph", "optimize_for_inference")
TOLERANCE = 1e-5


def compute(folder, feeds):
    # type: (Path, dict[str, np.ndarray]) -> list[np.ndarray]
    """The outputs of the graph in `folder`, in the order of its graph.json; none where this TensorFlow cannot read it.

    Exits with 3 where the graph cannot run alone.
    """
    (path,) = folder.glob("*.pb")
    graph_def = v1.GraphDef()
    graph_def.ParseFromString(path.read_bytes())
    print(f"{folder.name}/{path.name}: {len(graph_def.node)} nodes")
    if any(node.op in ("VarHandleOp", "VariableV2") for node in graph_def.node):
        refuse("it holds variables (freeze_graph.keep_vars), which its checkpoint would have to fill")
    names = [spec["name"] + ":0" for spec in json.loads((folder / "graph.json").read_text())["outputs"]]
    graph = tf.Graph()
    with graph.as_default(), v1.Session() as session:
        try:
            tf.import_graph_def(graph_def, name="")
        except ValueError as error:
            print(f"  this TensorFlow does not read it: {error}")
            return []
        return list(session.run(names, {name + ":0": value for name, value in feeds.items()}))


def compare(outputs, wanted):
    # type: (list[np.ndarray], list[np.ndarray]) -> bool
    """Print the difference of each output; whether all are within 1e-5 x max(1, max|y|)."""
    good = len(outputs) == len(wanted)
    for number, keras in enumerate(wanted[: len(outputs)]):
        got = outputs[number]
        limit = TOLERANCE * max(1.0, float(np.abs(keras).max()))
        difference = float(np.abs(got - keras).max()) if got.shape == keras.shape else float("inf")
        good = good and difference <= limit
        print(f"  output {number}: difference {difference:.3g}, at most {limit:.3g} allowed")
    return good


def refuse(problem):
    # type: (str) -> None
    print(f"error: {problem}", file=sys.stderr)
    sys.exit(3)


def main(words):
    # type: (list[str]) -> int
    """See the module for the exit code."""
    if len(words) != 1:
        print(__doc__)
        return 2
    workspace = Path(words[0])
    reference = workspace / "keras_2_tf" / "reference.npz"
    for path in [reference, *(workspace / stage / "graph.json" for stage in STAGES)]:
        if not path.exists():
            refuse(f"{path} is not there; run the pipeline with --to {STAGES[-1]} first")
    print("TensorFlow " + tf.__version__)
    with np.load(str(reference)) as arrays:
        feeds = {name[len("probe/") :]: arrays[name] for name in arrays if name.startswith("probe/")}
        wanted = [arrays[name] for name in arrays if name.startswith("probe_output/")]
    # Every graph is read, also after one that differs.
    results = [compare(compute(workspace / stage, feeds), wanted) for stage in STAGES]
    return 0 if all(results) else 5


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
