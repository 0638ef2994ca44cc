"""Spells out layer normalizations that Keras 2 computes with a batch norm in training mode.

Given:  Reshape to [1, rows, n, 1] -> FusedBatchNorm(ones, zeros), is_training, NCHW
Result: Reshape -> (x - mean) * Rsqrt(variance + epsilon), both over the n numbers of a row

Each row is a channel there, so no row depends on the others of the batch.
"""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import BATCH_NORMS, text
from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.topology import flag, node_of


def of_rows_alone(graph_def: GraphDef, keep: frozenset[str]) -> GraphDef:
    """The graph with each such batch norm spelled out; the same graph where there is none."""
    trained = [node for node in graph_def.node if node.op in BATCH_NORMS and flag(node, "is_training", default=True)]
    if not any(text(node, "data_format", "NHWC") == "NCHW" for node in trained):
        return graph_def
    tools = Tools(graph_def, keep)
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        result.node.extend(_spelled_out(tools, node) if _is_of_rows(tools, node) else [node])
    return result


def _is_of_rows(tools: Tools, node: NodeDef) -> bool:
    if node.op not in BATCH_NORMS or not flag(node, "is_training", default=True) or tools.side_outputs(node):
        return False
    sizes = tools.sizes(node.input[0])
    is_one_image = tools.nodes[node_of(node.input[0])].op == "Reshape" and sizes is not None and sizes[0] == 1
    plain = _is_filled(tools, node.input[1], 1.0) and _is_filled(tools, node.input[2], 0.0)
    return is_one_image and plain and text(node, "data_format", "NHWC") == "NCHW"


def _is_filled(tools: Tools, reference: str, wanted: float) -> bool:
    """Whether all numbers of a tensor are `wanted`."""
    node = tools.nodes[node_of(reference)]
    value = tools.value(node.input[1] if node.op == "Fill" else reference)
    return value is not None and bool((value == wanted).all())


def _spelled_out(tools: Tools, node: NodeDef) -> list[NodeDef]:
    axes = tools.const(f"{node.name}/axes", [2, 3])
    epsilon = tools.const(f"{node.name}/epsilon", node.attr["epsilon"].f, np.float32)
    steps = [axes, epsilon]

    def step(op: str, name: str, *inputs: str) -> str:
        made = tools.node(op, f"{node.name}/{name}" if name else node.name, list(inputs), node)
        if op == "Mean":
            made.attr["Tidx"].CopyFrom(axes.attr["dtype"])
            made.attr["keep_dims"].b = True
        steps.append(made)
        return made.name

    centred = step("Sub", "centred", node.input[0], step("Mean", "mean", node.input[0], axes.name))
    variance = step("Mean", "variance", step("Square", "square", centred), axes.name)
    root = step("Rsqrt", "rsqrt", step("AddV2", "variance_epsilon", variance, epsilon.name))
    step("Mul", "", centred, root)
    return steps
