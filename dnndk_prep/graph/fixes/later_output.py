"""Puts a Reshape behind an average pool that is an output: what a quantizer adds behind the pool runs then.

Given:  x -> AvgPool or Mean over height and width, an output
Result: x -> the pool -> Reshape to the same sizes, under the output's name

vai_q_tensorflow 3.5 scales and rounds behind such a pool where nothing reads it: the position of the rounding stays 0,
and that of what feeds the pool becomes 0, too (measured).
"""

from __future__ import annotations

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import View
from dnndk_prep.graph.fixes import Changed, copy_of, with_instead
from dnndk_prep.graph.form_tools import Tools


def later_output(graph_def: GraphDef, keep: frozenset[str]) -> Changed:
    """The graph with a Reshape under the name of each such output; other readers of the pool read the pool."""
    view, tools = View(graph_def), Tools(graph_def, keep)
    instead: dict[str, list[NodeDef]] = {}
    reads: dict[str, str] = {}
    for node in graph_def.node:
        sizes = tools.sizes(node.name)
        # One size may be any: the batch.
        if node.name not in keep or not _is_pool(tools, node) or sizes is None or None in sizes[1:]:
            continue
        pool = copy_of(node, tools.free(f"{node.name}/pool"))
        shape = tools.const(f"{node.name}/shape", [size or -1 for size in sizes])
        instead[node.name] = [pool, shape, tools.reshape(node.name, pool.name, shape.name, node)]
        if view.readers.get(node.name):
            reads[node.name] = pool.name
    return Changed(with_instead(graph_def, instead, reads), tuple(instead))


def _is_pool(tools: Tools, node: NodeDef) -> bool:
    if node.op != "Mean":
        return node.op == "AvgPool"
    axes, sizes = tools.value(node.input[1]), tools.sizes(node.input[0])
    return axes is not None and sizes is not None and len(sizes) == 4 and sorted(np.ravel(axes) % 4) == [1, 2]
