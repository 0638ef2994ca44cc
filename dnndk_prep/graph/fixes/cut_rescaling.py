"""Where quantization begins if the input's rescaling is left out of it; the graph itself stays as it is.

Given:  Placeholder -> Mul(const) -> AddV2(const) -> Conv2D
Result: {"Placeholder": "AddV2"}: the quantizers take that node for their input, and what is before it stays in float

Otherwise raw values, 0 to 255, are rounded to 8 bits first, and once more behind the rescaling.
"""

from __future__ import annotations

from collections.abc import Iterable

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import ADDS, BATCH_NORMS, View
from dnndk_prep.graph.topology import by_name

SCALES = (*ADDS, "Mul", "RealDiv", "Div")


def begins(graph_def: GraphDef, inputs: Iterable[str], keep: frozenset[str]) -> dict[str, str]:
    """For each input that is rescaled, and read by nothing else, the last node of the rescaling."""
    view, found = View(graph_def), {}
    for name in inputs:
        place = name
        while (scaled := _scaled(view, place)) is not None and scaled.name not in keep:
            place = found[name] = scaled.name
    return found


def fed_behind(graph_def: GraphDef, begin: dict[str, str]) -> GraphDef:
    """The graph with placeholders in the place of the rescaled inputs, as the quantizers run it."""
    result = GraphDef()
    result.CopyFrom(graph_def)
    nodes = by_name(result)
    for name, last in begin.items():
        dtype, shape = nodes[name].attr["dtype"], nodes[name].attr["shape"]
        made = NodeDef(name=last, op="Placeholder")
        made.attr["dtype"].CopyFrom(dtype)
        made.attr["shape"].CopyFrom(shape)
        nodes[last].CopyFrom(made)
    return result


def _scaled(view: View, name: str) -> NodeDef | None:
    """The one node that reads this value, where all it does is to scale or shift it by constants."""
    readers = view.readers.get(name, [])
    if len(readers) != 1 or view.reads_further_outputs(view.nodes[name]):
        return None
    node = view.nodes[readers[0]]
    if node.op in BATCH_NORMS:
        return node if node.input[0] == name and not isinstance(view.batch_norm(node, None), str) else None
    others = [other for other in node.input if other != name]
    constant = len(others) == 1 and view.constant(others[0]) is not None
    return node if node.op in SCALES and constant else None
