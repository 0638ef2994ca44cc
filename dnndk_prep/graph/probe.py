"""A random batch for a graph's inputs: what every graph of a model is compared by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.artifact import TensorSpec
from dnndk_prep.graph.run import imported

# For axes that a graph leaves free; divisible by the strides of common networks.
FREE_SIZE = 32
IMAGES = 8
LIMIT = 10
# The ops that look rows of a table up by number.
LOOK_UPS = ("Gather", "GatherV2", "ResourceGather")


def probe_batch(inputs: Sequence[TensorSpec], seed: int, graph_def: GraphDef) -> dict[str, np.ndarray]:
    """One array an input, the same for the same seed.

    Floats are uniform in [0, 1); whole numbers are below 10 and below the rows of every table that is looked up in.
    """
    random = np.random.default_rng(seed)
    limit = min([LIMIT, *_rows(graph_def)])
    batch = {}
    for spec in inputs:
        sizes = [size or FREE_SIZE for size in spec.shape]
        shape = [spec.shape[0] or IMAGES, *sizes[1:]] if spec.shape else []
        kind = np.dtype(spec.dtype).kind
        values = random.random(shape) if kind == "f" else random.integers(0, 2 if kind == "b" else limit, shape)
        batch[spec.name] = np.asarray(values).astype(spec.dtype)
    return batch


def _rows(graph_def: GraphDef) -> list[int]:
    """The sizes of the tables; a Gather of a tensor that is computed is no look-up in a table."""
    if not any(node.op in LOOK_UPS for node in graph_def.node):
        return []
    rows = []
    for operation in imported(graph_def).get_operations():
        if operation.type not in LOOK_UPS:
            continue
        table = operation.inputs[0].op
        while table.type in ("Identity", "ReadVariableOp", "Enter"):
            table = table.inputs[0].op
        if table.type in ("VarHandleOp", "VariableV2", "Variable"):
            rows.append(tf.TensorShape(table.get_attr("shape")).as_list()[0])
        elif table.type == "Const":
            rows.append(operation.inputs[0].shape.as_list()[0])
    return [size for size in rows if size]
