"""From a model's source to the graphs that go to the tools, for tests of many formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dnndk_prep.graph.artifact import GraphArtifact
from dnndk_prep.graph.freeze import freeze
from dnndk_prep.graph.readers import for_reader
from dnndk_prep.graph.rewrite import optimize
from dnndk_prep.graph.run import GraphRunner
from dnndk_prep.keras_io.inference import build_inference
from dnndk_prep.keras_io.load import KerasSource

OLDEST = "1.9"


def frozen(source: KerasSource) -> GraphArtifact:
    """The frozen graph of a model."""
    built = build_inference(source)
    names = [spec.name for spec in built.outputs]
    graph_def = freeze(built.graph_def, built.variables, names, inputs=[spec.name for spec in built.inputs])
    return GraphArtifact(graph_def, built.inputs, built.outputs, OLDEST)


def optimized(artifact: GraphArtifact, feeds: Sequence[np.ndarray], reader: str = OLDEST) -> GraphArtifact:
    """The optimized graph, at the level of `reader`; `feeds` are in the order of its inputs."""
    result = optimize(artifact, dict(zip(artifact.input_names, feeds, strict=True)))[0]
    keep = frozenset([*result.input_names, *result.output_names])
    return replace(result, graph_def=for_reader(result.graph_def, reader, keep), reader=reader)


def outputs(artifact: GraphArtifact, feeds: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the graph computes for `feeds`, in the order of its inputs and outputs."""
    with GraphRunner(artifact.graph_def, artifact.output_names) as runner:
        return runner.run(dict(zip(artifact.input_names, feeds, strict=True)))


def assert_within(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> None:
    """max|a - b| <= 1e-5 * max(1, max|b|) for each output."""
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= 1e-5 * max(1.0, np.abs(b).max())
