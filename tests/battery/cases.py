"""A model of the battery on its way: built, predicted by its own Keras, frozen and optimized for a reader."""

from __future__ import annotations

import functools
import importlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from battery.patterns import KERAS, Pattern
from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec
from dnndk_prep.graph.freeze import freeze
from dnndk_prep.graph.readers import for_reader
from dnndk_prep.graph.rewrite import optimize
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.keras_io.inference import build_inference
from dnndk_prep.keras_io.load import read_model


@dataclass(frozen=True)
class Case:
    """The frozen graph of one model in today's form, one batch, and what Keras predicts for it."""

    today: GraphArtifact
    feeds: dict[str, np.ndarray]
    predicted: list[np.ndarray]
    made: dict[str, GraphArtifact] = field(default_factory=dict)

    def frozen(self, reader: str) -> GraphArtifact:
        """As the stage freeze_graph writes it. Raises StageError where the reader has no form."""
        keep = frozenset([*self.today.input_names, *self.today.output_names])
        graph_def = for_reader(self.today.graph_def, reader, keep)
        return GraphArtifact(graph_def, self.today.inputs, self.today.outputs, reader)

    def optimized(self, reader: str) -> GraphArtifact:
        """As the stage optimize_for_inference writes it, from what freeze_graph wrote; made once for each reader.

        Without the probe after every rewrite: what comes out is held against Keras.
        """
        if reader not in self.made:
            self.made[reader] = optimize(self.frozen(reader), None)[0]
        return self.made[reader]


@functools.cache
def case(pattern: Pattern, spelling: str) -> Case:
    """The model in Keras "2" or "3", or a "graph" of TensorFlow's own; each is built once for all readers."""
    feeds = pattern.feeds()
    if spelling == "graph":
        return _of_graph(pattern, feeds)
    keras = importlib.import_module(KERAS[spelling])
    model = pattern.model(keras)
    predicted = model(feeds[0] if len(feeds) == 1 else feeds, training=False)
    if isinstance(predicted, dict):
        predicted = [predicted[key] for key in sorted(predicted)]
    outputs = [np.asarray(each) for each in (predicted if isinstance(predicted, list | tuple) else [predicted])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        model.save(path)
        built = build_inference(read_model(path))
    names = [spec.name for spec in built.outputs]
    inputs = [spec.name for spec in built.inputs]
    graph_def = freeze(built.graph_def, built.variables, names, inputs=inputs)
    today = GraphArtifact(graph_def, built.inputs, built.outputs, "1.15")
    return Case(today, dict(zip(inputs, feeds, strict=True)), outputs)


def _of_graph(pattern: Pattern, feeds: Sequence[np.ndarray]) -> Case:
    build: Callable[..., tf.Tensor] = pattern.build
    with tf.Graph().as_default() as graph:
        shapes = [(pattern.batch, *shape) for shape in pattern.shapes]
        inputs = [tf.compat.v1.placeholder(pattern.dtype, shape, f"x{i}") for i, shape in enumerate(shapes)]
        output = tf.identity(build(tf, *inputs), "y")
    specs = tuple(TensorSpec(tensor.op.name, tuple(tensor.shape.as_list()), pattern.dtype) for tensor in inputs)
    made = TensorSpec("y", tuple(output.shape.as_list()), output.dtype.name)
    today = GraphArtifact(graph.as_graph_def(), specs, (made,), "1.15")
    named = dict(zip(today.input_names, feeds, strict=True))
    with GraphRunner(today.graph_def, ["y"]) as runner:
        return Case(today, named, runner.run(named))
