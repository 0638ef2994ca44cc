"""Sums of two tensors under the op that a family of quantizers takes for a sum and for nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from tensorflow.core.framework.graph_pb2 import GraphDef

# Vitis AI's quantizer takes a residual Add for a bias where it follows another Add; some builds of DNNDK's TensorFlow
# have no AddV2.
SUMS: Mapping[str, str] = {"vitis_ai": "AddV2", "dnndk": "Add"}


def sums_for(graph_def: GraphDef, family: str) -> GraphDef:
    """The graph with every Add and AddV2 as the one that `family` ("vitis_ai", "dnndk") reads rightly."""
    result = GraphDef()
    result.CopyFrom(graph_def)
    for node in result.node:
        if node.op in ("Add", "AddV2"):
            node.op = SUMS[family]
    return result
