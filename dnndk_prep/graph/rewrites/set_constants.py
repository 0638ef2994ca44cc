"""Gives placeholders that only training changes their value in inference.

Given:  Placeholder is_training -> Switch        Result: Const False (under its name) -> Switch
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.weights import constant


def set_constants(graph_def: GraphDef, values: Mapping[str, np.ndarray]) -> GraphDef:
    """The graph with a constant for each node in `values`: keras_learning_phase, is_training, keep_prob."""
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        result.node.append(constant(node.name, values[node.name]) if node.name in values else node)
    return result
