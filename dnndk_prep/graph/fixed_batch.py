"""A graph for a fixed number of images: what follows from the batch becomes constant behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import UsageError
from dnndk_prep.graph.artifact import TensorSpec
from dnndk_prep.graph.run import imported

Specs = tuple[TensorSpec, ...]


def with_batch(
    graph_def: GraphDef, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], batch: int
) -> tuple[GraphDef, Specs, Specs]:
    """The graph and its ends with `batch` as first size of every input; those of the outputs follow.

    Raises UsageError where an input has another fixed batch.
    """
    for spec in inputs:
        if spec.shape and spec.shape[0] not in (None, batch):
            raise UsageError(
                f"graph.batch: {batch} is not the batch of the model",
                expected=f"{spec.shape[0]}, the fixed batch of its input {spec.name}",
                found=str(batch),
                remedy="leave graph.batch out, or build the model without a fixed batch",
            )
    fixed = tuple(replace(spec, shape=(batch, *spec.shape[1:])) if spec.shape else spec for spec in inputs)
    result = GraphDef()
    result.CopyFrom(graph_def)
    shapes = {spec.name: spec.shape for spec in fixed}
    for node in result.node:
        if shapes.get(node.name):
            sizes = node.attr["shape"].shape
            sizes.Clear()
            for size in shapes[node.name]:
                sizes.dim.add(size=-1 if size is None else size)
        # What TensorFlow noted of the shapes is that of the free batch.
        node.attr.pop("_output_shapes", None)
    graph = imported(result)
    found = [graph.get_tensor_by_name(f"{spec.name}:0").shape for spec in outputs]
    return (
        result,
        fixed,
        tuple(
            spec if shape.rank is None else replace(spec, shape=tuple(shape.as_list()))
            for spec, shape in zip(outputs, found, strict=True)
        ),
    )
