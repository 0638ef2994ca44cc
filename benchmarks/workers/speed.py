"""Times graphs beside each other in the TensorFlow that runs this, 1.15 or today's (Python 3.7 and later).

speed.py JSON, with {"batch", "side", "runs", "graphs": {name: {"file", "input", "output"}}}: prints the seconds of each
run by name. The graphs take turns, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf


def session_of(file: str) -> tf.compat.v1.Session:
    graph_def = tf.compat.v1.GraphDef()
    with open(file, "rb") as handle:  # noqa: PTH123
        graph_def.ParseFromString(handle.read())
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")
    return tf.compat.v1.Session(graph=graph)


def main() -> None:
    wanted = json.loads(sys.argv[1])
    side = wanted["side"]
    images = np.random.RandomState(0).uniform(size=(wanted["batch"], side, side, 3)).astype(np.float32)
    graphs = wanted["graphs"]
    sessions = {name: session_of(graph["file"]) for name, graph in graphs.items()}
    seconds = {name: [] for name in graphs}
    outputs = {}
    # The first three runs of each choose algorithms and fill caches.
    for number in range(wanted["runs"] + 3):
        order = list(graphs) if number % 2 else list(graphs)[::-1]
        for name in order:
            graph = graphs[name]
            start = time.perf_counter()
            outputs[name] = sessions[name].run(graph["output"] + ":0", {graph["input"] + ":0": images})
            if number >= 3:
                seconds[name].append(time.perf_counter() - start)
    first, *others = outputs.values()
    difference = max(float(np.abs(first - other).max()) for other in others)
    print(json.dumps({"tensorflow": tf.__version__, "seconds": seconds, "difference": difference}))


if __name__ == "__main__":
    main()
