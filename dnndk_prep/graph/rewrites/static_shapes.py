"""Writes shapes that are known as constants: what Flatten, Reshape and Dense compute from Shape at run time.

Given:  x -> Shape -> StridedSlice -> Pack; (x, Pack) -> Reshape         with x of [batch, 4, 4, 8]
Result: (x, Const [-1, 128]) -> Reshape

The DPU's tools quantize and compile Reshape with a constant shape alone.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.freeze import constant
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.run import imported
from dnndk_prep.graph.topology import by_name, node_of


def static_shapes(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with constants for the Shape of fully known tensors, and for a Reshape with one free size at most."""
    nodes = by_name(graph_def)
    asked = [n for n in graph_def.node if n.op == "Shape" or (n.op == "Reshape" and not _is_constant(nodes, n))]
    if not asked:
        return Rewritten(graph_def)
    shapes = _shapes(graph_def, asked)
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        value = shapes.get(node.name)
        if value is None:
            result.node.append(node)
        elif node.op == "Shape":
            result.node.append(constant(node.name, value.astype(_dtype(node, "out_type"))))
        else:
            shape = constant(_free(f"{node.name}/static_shape", nodes), value.astype(_dtype(node, "Tshape")))
            new = NodeDef()
            new.CopyFrom(node)
            new.input[1] = shape.name
            result.node.extend([shape, new])
    return Rewritten(result)


def _is_constant(nodes: dict[str, NodeDef], reshape: NodeDef) -> bool:
    return nodes[node_of(reshape.input[1])].op == "Const"


def _shapes(graph_def: GraphDef, asked: list[NodeDef]) -> dict[str, np.ndarray]:
    """The constant for each of the `asked` nodes whose shape TensorFlow infers far enough."""
    graph = imported(graph_def)
    found = {}
    for node in asked:
        operation = graph.get_operation_by_name(node.name)
        shape = operation.inputs[0].shape if node.op == "Shape" else operation.outputs[0].shape
        # An empty axis leaves a free one undetermined.
        if shape.rank is None or 0 in shape.as_list():
            continue
        if shape.as_list().count(None) <= (1 if node.op == "Reshape" else 0):
            found[node.name] = np.array([-1 if size is None else size for size in shape.as_list()])
    return found


def _dtype(node: NodeDef, attribute: str) -> type[np.generic]:
    number = node.attr[attribute].type if attribute in node.attr else tf.int32.as_datatype_enum
    return tf.as_dtype(number).as_numpy_dtype


def _free(name: str, nodes: dict[str, NodeDef]) -> str:
    candidate, number = name, 0
    while candidate in nodes:
        number += 1
        candidate = f"{name}_{number}"
    return candidate
