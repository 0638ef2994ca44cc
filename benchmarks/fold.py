"""Times our whole `optimize` beside TensorFlow's own optimize_for_inference, on the same frozen graph in one run.

python benchmarks/fold.py                     ResNet50; TensorFlow's takes more than a minute
python benchmarks/fold.py --model small       MobileNetV2 with a quarter of the channels

Measured figures are in benchmarks/README.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.python.tools import optimize_for_inference_lib
from tf_keras.src import backend

from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.graph.freeze import freeze
from dnndk_prep.graph.rewrite import REWRITES, optimize
from dnndk_prep.graph.run import GraphRunner

SIDE = 224
MODELS: dict[str, Callable[..., tf_keras.Model]] = {
    "resnet50": tf_keras.applications.ResNet50,
    "mobilenetv2": tf_keras.applications.MobileNetV2,
    "small": partial(tf_keras.applications.MobileNetV2, alpha=0.35),
}
NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")


def frozen(model: str) -> GraphArtifact:
    """The network for inference with random weights; the batch norms' statistics are random too."""
    random = np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        backend.set_learning_phase(0)
        # Without the softmax, which would hide differences where it gives 0 and 1.
        network = MODELS[model](weights=None, input_shape=(SIDE, SIDE, 3), classifier_activation=None)
        variables = tf.compat.v1.global_variables()
    values = {v.op.name: random.uniform(0.5, 1.5, v.shape).astype(np.float32) for v in variables}
    for name in values:
        if name.endswith("kernel"):
            shape = values[name].shape
            values[name] = (random.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)
    source, output = network.inputs[0].op.name, network.outputs[0].op.name
    inputs = TensorSpec(source, (None, SIDE, SIDE, 3), "float32")
    outputs = TensorSpec(output, (None, 1000), "float32")
    return GraphArtifact(freeze(graph.as_graph_def(), values, [output]), (inputs,), (outputs,), "1.15")


def theirs(artifact: GraphArtifact) -> GraphDef:
    names = artifact.input_names, artifact.output_names
    return optimize_for_inference_lib.optimize_for_inference(
        GraphDef.FromString(artifact.graph_def.SerializeToString()), *names, tf.float32.as_datatype_enum
    )


def timed(work: Callable[[], GraphDef]) -> tuple[GraphDef, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="resnet50")
    artifact = frozen(parser.parse_args().model)
    spec = artifact.inputs[0]
    probe = {spec.name: np.random.default_rng(1).uniform(-1, 1, (1, SIDE, SIDE, 3)).astype(np.float32)}
    with GraphRunner(artifact.graph_def, artifact.output_names) as runner:
        wanted = runner.run(probe)[0]

    keep = frozenset([*artifact.input_names, *artifact.output_names])
    graph_def = artifact.graph_def
    for rewrite in REWRITES:
        before = len(graph_def.node)
        start = time.perf_counter()
        graph_def = rewrite(graph_def, keep).graph_def
        print(f"{rewrite.__name__:<34}{time.perf_counter() - start:8.2f} s{before:7} -> {len(graph_def.node)} nodes")

    runs = {
        "ours": lambda: optimize(artifact, None)[0].graph_def,
        "ours, each rewrite held to a probe": lambda: optimize(artifact, probe)[0].graph_def,
        "TensorFlow's optimize_for_inference": lambda: theirs(artifact),
    }
    print(f"\n{'':<36}{'time':>8}{'ratio':>8}{'nodes':>8}{'norms':>8}{'relative difference':>22}")
    base = None
    for name, work in runs.items():
        graph_def, seconds = timed(work)
        base = base or seconds
        with GraphRunner(graph_def, artifact.output_names) as runner:
            difference = np.abs(runner.run(probe)[0] - wanted).max() / np.abs(wanted).max()
        norms = sum(node.op in NORMS for node in graph_def.node)
        nodes = len(graph_def.node)
        print(f"{name:<36}{seconds:7.2f}s{seconds / base:8.1f}{nodes:8}{norms:8}{difference:22.1e}")


if __name__ == "__main__":
    main()
