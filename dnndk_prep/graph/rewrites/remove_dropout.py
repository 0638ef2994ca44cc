"""Takes dropout out of a graph that was built for training, or with a share that keeps everything.

Given:  x -> RealDiv(keep) -> Mul <- Floor <- Add(keep) <- RandomUniform            (TensorFlow to 1.12)
        x -> Mul(1/(1-rate)) -> Mul <- Cast <- GreaterEqual(rate) <- RandomUniform  (1.13 to 2.x)
        x -> Mul(1/(1-rate)) -> SelectV2(GreaterEqual(rate), ., 0)                  (newer 2.x)
Result: x, under the name of the last node
"""

from __future__ import annotations

from collections.abc import Iterator

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import by_name, node_of

RANDOM = ("RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2")
# From numbers in [0, 1) to others, and back: what tf.random_uniform adds around the op.
AROUND = ("Add", "AddV2", "Mul", "Sub", "Identity", "Cast")
# Of constants alone: the share, and one divided by what is left of it.
SHARE = ("Const", "Identity", "Sub", "RealDiv", "Div", "Cast", "Reciprocal")
PARTS = 12


def remove_dropout(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph in which each dropout is an Identity of its input; the notes name them."""
    nodes = by_name(graph_def)
    if not any(node.op in RANDOM for node in nodes.values()):
        return Rewritten(graph_def)
    found = {node.name: data for node in graph_def.node if (data := _dropped(nodes, node)) is not None}
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        if node.name not in found:
            result.node.append(node)
            continue
        new = result.node.add(name=node.name, op="Identity", input=[found[node.name]], device=node.device)
        new.attr["T"].CopyFrom(node.attr["T"])
    return Rewritten(result, tuple(f"{name} was dropout, which inference does not have: taken out" for name in found))


def _dropped(nodes: dict[str, NodeDef], node: NodeDef) -> str | None:
    """What goes into the dropout whose last node is `node`; None if it is none."""
    if node.op in ("Select", "SelectV2") and _is_mask(nodes, node.input[0]):
        return _unscaled(nodes, node.input[1])
    if node.op != "Mul":
        return None
    for value, mask in (node.input[:2], reversed(node.input[:2])):
        if _is_mask(nodes, mask):
            return _unscaled(nodes, value)
    return None


def _unscaled(nodes: dict[str, NodeDef], reference: str) -> str:
    """The value before it was divided by the share that is kept."""
    node = nodes[node_of(reference)]
    if node.op in ("RealDiv", "Div") and _is_share(nodes, node.input[1]):
        return node.input[0]
    if node.op == "Mul":
        for value, share in (node.input[:2], reversed(node.input[:2])):
            if _is_share(nodes, share):
                return value
    return reference


def _is_mask(nodes: dict[str, NodeDef], reference: str) -> bool:
    """Whether the value is 0 or 1 by chance."""
    node = nodes[node_of(reference)]
    if node.op in ("Cast", "Identity"):
        return _is_mask(nodes, node.input[0])
    if node.op == "GreaterEqual":
        return _is_random(nodes, node.input[0], PARTS)
    if node.op == "Floor":
        return _is_random(nodes, node.input[0], PARTS)
    return False


def _is_random(nodes: dict[str, NodeDef], reference: str, parts: int) -> bool:
    node = nodes[node_of(reference)]
    if node.op in RANDOM:
        return True
    return bool(parts) and node.op in AROUND and any(_is_random(nodes, name, parts - 1) for name in _data(node))


def _is_share(nodes: dict[str, NodeDef], reference: str, parts: int = PARTS) -> bool:
    node = nodes[node_of(reference)]
    if node.op == "Const":
        return not node.attr["value"].tensor.tensor_shape.dim
    return bool(parts) and node.op in SHARE and all(_is_share(nodes, name, parts - 1) for name in _data(node))


def _data(node: NodeDef) -> Iterator[str]:
    return (name for name in node.input if not name.startswith("^"))
