"""Multiplies by one matrix as a dense layer does, where a graph hands it to every example of a batch.

Given:  BatchMatMulV2(x [n, 6, 4], w [4, 8])
Result: Reshape(x, [-1, 4]) -> MatMul(w) -> Reshape [-1, 6, 8]

Keras 3 computes EinsumDense, and so its attention, in this way; TensorFlow before 1.14 cannot hand a matrix out.
"""

from __future__ import annotations

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import flag

PRODUCTS = ("BatchMatMulV2", "BatchMatMulV3")


def products_of_rows(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with a MatMul for each product by one matrix, where all sizes but one are known."""
    if not any(node.op in PRODUCTS for node in graph_def.node):
        return Rewritten(graph_def)
    tools = Tools(graph_def, keep)
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        result.node.extend(_rows(tools, node) if node.op in PRODUCTS and _is_by_one(tools, node) else [node])
    return Rewritten(result)


def _is_by_one(tools: Tools, node: NodeDef) -> bool:
    rows, matrix, product = (tools.sizes(name) for name in (*node.input[:2], node.name))
    if rows is None or matrix is None or product is None or len(rows) < 3 or len(matrix) != 2:
        return False
    is_one_type = "Tout" not in node.attr or node.attr["Ta"].type == node.attr["Tb"].type == node.attr["Tout"].type
    return is_one_type and not flag(node, "adj_x") and rows[-1] is not None and product.count(None) <= 1


def _rows(tools: Tools, node: NodeDef) -> list[NodeDef]:
    """The product keeps the node's name as its last part, so that whoever reads it reads the same."""
    dtype = node.attr["T"] if "T" in node.attr else node.attr["Ta"]
    like = NodeDef(name=node.name, device=node.device)
    like.attr["T"].CopyFrom(dtype)
    width = (tools.sizes(node.input[0]) or [None])[-1]
    flat = tools.const(f"{node.name}/rows/shape", [-1, width])
    rows = tools.reshape(f"{node.name}/rows", node.input[0], flat.name, like)
    product = tools.node("MatMul", f"{node.name}/MatMul", [rows.name, node.input[1]], like)
    product.attr["transpose_a"].b = False
    product.attr["transpose_b"].b = flag(node, "adj_y")
    sizes = [-1 if size is None else size for size in tools.sizes(node.name) or []]
    shape = tools.const(f"{node.name}/shape", sizes)
    return [flat, rows, product, shape, tools.reshape(node.name, product.name, shape.name, like)]
