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


def main() -> None:
    way, folder, target = sys.argv[1:]
    artifact = GraphArtifact.load(Path(folder))
    probe = probe_batch(artifact.inputs, 0, artifact.graph_def) if way == "proven" else None
    start, cpu = time.perf_counter(), time.process_time()
    if way == "theirs":
        names = artifact.input_names, artifact.output_names
        graph_def = optimize_for_inference_lib.optimize_for_inference(
            artifact.graph_def, *names, tf.float32.as_datatype_enum
        )
    else:
        graph_def = optimize(artifact, probe)[0].graph_def
    seconds = {"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    Path(target).write_bytes(graph_def.SerializeToString())
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
