"""The training branch of a Keras graph as TensorFlow 1 runs it, when its moving statistics are not updated."""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import StageError
from dnndk_prep.graph.freeze import prune
from dnndk_prep.graph.topology import flag, node_of
from dnndk_prep.graph.weights import constant

FUSED = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
NO_STATISTICS = "no_moving_statistics"


def with_old_training_batch_norms(graph_def: GraphDef) -> GraphDef:
    """The graph with batch norms in training that get no moving statistics, which no result depends on.

    TensorFlow 1 refuses them there (fused_batch_norm_op.cc: "estimated_mean must be empty for training"); today's takes
    them to update the moving ones. Raises StageError where something reads what such a batch norm updates.
    """
    training = {node.name for node in graph_def.node if node.op in FUSED and flag(node, "is_training", default=True)}
    if not training:
        return graph_def
    read = [name for node in graph_def.node for name in node.input if node_of(name) in training]
    if updated := [name for name in read if ":" in name]:
        raise StageError(
            "the training branch reads statistics that a batch norm updates",
            expected="a graph in which nothing is updated",
            found=updated[0],
            remedy="leave out saved_model.learning_phase",
            code="K2D-0001",
        )
    result = GraphDef()
    result.CopyFrom(graph_def)
    empty = constant(NO_STATISTICS, np.zeros(0, np.float32))
    result.node.append(empty)
    read_by_any = {node_of(name) for node in graph_def.node for name in node.input}
    for node in result.node:
        if node.name in training:
            node.input[3] = node.input[4] = empty.name
            node.attr.pop("exponential_avg_factor", None)
    # What only read the moving statistics goes.
    return prune(result, [node.name for node in graph_def.node if node.name not in read_by_any])
