"""Optimizes a frozen graph in a process of its own: rewrites.py ours|proven|theirs FOLDER OUT.pb

FOLDER is a workspace's freeze_graph. Prints the seconds of the rewriting alone, without TensorFlow's import and the
reading of the file. `ours`: all rewrites, checked by structure; `proven`: each held to a probe batch, too; `theirs`:
TensorFlow's optimize_for_inference.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import sys
import time
from pathlib import Path

import tensorflow as tf
from tensorflow.python.tools import optimize_for_inference_lib

from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.probe import probe_batch
from dnndk_prep.graph.rewrite import optimize
from dnndk_prep.graph.weights import pieces, weights_apart


def theirs(folder: Path, target: Path) -> dict[str, float]:
    artifact = GraphArtifact.load(folder)
    names = artifact.input_names, artifact.output_names
    start, cpu = time.perf_counter(), time.process_time()
    graph_def = optimize_for_inference_lib.optimize_for_inference(
        artifact.graph_def, *names, tf.float32.as_datatype_enum
    )
    seconds = {"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    target.write_bytes(graph_def.SerializeToString())
    return seconds


@weights_apart()
def ours(folder: Path, target: Path, is_proven: bool) -> dict[str, float]:
    """As the stage does it."""
    artifact = GraphArtifact.load(folder)
    probe = {name: batch[:1] for name, batch in probe_batch(artifact.inputs, 0, artifact.graph_def).items()}
    start, cpu = time.perf_counter(), time.process_time()
    graph_def = optimize(artifact, probe if is_proven else None)[0].graph_def
    seconds = {"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    target.write_bytes(b"".join(pieces(graph_def)))
    return seconds


def main() -> None:
    way, folder, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    print(json.dumps(theirs(folder, target) if way == "theirs" else ours(folder, target, way == "proven")))


if __name__ == "__main__":
    main()
