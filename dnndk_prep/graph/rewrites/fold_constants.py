"""Computes what does not depend on any input.

Given:  Const -> Rsqrt -> Mul <- Const; Mul -> b        Result: Const (named as the Mul) -> b
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import op_def_registry

from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import by_name, in_order, node_of, reachable
from dnndk_prep.graph.weights import constant, whole

# A node of a loop has a value for each turn, even where its inputs are constants; a PlaceholderWithDefault may be fed.
FLOW = ("Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond", "PlaceholderWithDefault", "NoOp", "Assert")
# Fill and Tile make much out of little; a graph should not grow by more than this.
MAX_GROWTH = 2**20


# What a session cannot hand out, or what is not worth a constant.
UNFIT = (tf.string, tf.resource, tf.variant)


def fold_constants(graph_def: GraphDef, keep: frozenset[str], largest: int | None = None) -> Rewritten:
    """The graph with a constant in the place of each node that depends on constants alone.

    A further output of a node (Split, Unpack) becomes a constant beside it; what was only read on the way goes.
    `largest` bytes is the limit for a constant, instead of what it is made of and some more.
    """
    nodes = by_name(graph_def)
    left: set[str] = set()
    while True:
        fixed = _fixed(graph_def, left)
        values, refused = _computed(graph_def, nodes, _wanted(graph_def, nodes, fixed, keep), largest)
        if not refused:
            break
        # What stays a node reads other nodes as they are: which ones are computed has to be found anew.
        left |= refused
    if not values:
        return Rewritten(graph_def)
    taken = set(nodes)
    constants = {tensor: constant(_name(tensor, taken), value) for tensor, value in values.items()}
    made: dict[str, list[NodeDef]] = {}
    for tensor, value in constants.items():
        made.setdefault(node_of(tensor), []).append(value)
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        if node.op != "Const" and node.name in fixed:
            result.node.extend(made.get(node.name, ()))
            continue
        new = result.node.add()
        new.CopyFrom(node)
        for i, name in enumerate(new.input):
            if (known := constants.get(_tensor(name))) is not None:
                new.input[i] = known.name
    return Rewritten(result)


def _fixed(graph_def: GraphDef, left: set[str]) -> set[str]:
    """The nodes whose value follows from constants; those in `left` do not count."""
    # What others wait for must stay a node, and a constant that waits stands in a branch or a loop.
    stay = left | {name[1:] for node in graph_def.node for name in node.input if name.startswith("^")}
    fixed: set[str] = set()
    for node in in_order(list(graph_def.node)):
        if node.op == "Const":
            is_fixed = not node.input
        else:
            definition = op_def_registry.get(node.op)
            stateful = definition is None or definition.is_stateful or node.op in FLOW
            # A control input, with its ^, is no name of a fixed node.
            reads_fixed = bool(node.input) and all(name.split(":")[0] in fixed for name in node.input)
            is_fixed = reads_fixed and not stateful and node.name not in stay
        if is_fixed:
            fixed.add(node.name)
    return fixed


def _wanted(graph_def: GraphDef, nodes: dict[str, NodeDef], fixed: set[str], keep: frozenset[str]) -> list[str]:
    """The tensors of fixed nodes that the others read, and those that must stay under their names."""
    read = {_tensor(name) for node in graph_def.node if node.name not in fixed for name in node.input}
    ends = read | {f"{name}:0" for name in keep}
    return sorted(name for name in ends if name.split(":")[0] in fixed and nodes[node_of(name)].op != "Const")


def _tensor(reference: str) -> str:
    return reference if ":" in reference or reference.startswith("^") else f"{reference}:0"


def _name(tensor: str, taken: set[str]) -> str:
    """The node's own name for its first output, a free one beside it for the others."""
    node, _, port = tensor.partition(":")
    if port == "0":
        return node
    name, number = f"{node}/output_{port}", 0
    while name in taken:
        number += 1
        name = f"{node}/output_{port}_{number}"
    taken.add(name)
    return name


def _computed(
    graph_def: GraphDef, nodes: dict[str, NodeDef], wanted: list[str], largest: int | None
) -> tuple[dict[str, np.ndarray], set[str]]:
    """The value of each tensor in `wanted`, and the nodes of those that are too large or cannot be written."""
    if not wanted:
        return {}, set()
    part = GraphDef(versions=graph_def.versions, library=graph_def.library)
    needed = reachable(nodes, wanted)
    part.node.extend(node for node in graph_def.node if node.name in needed)
    part = whole(part)
    size = part.ByteSize()
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(part, name="")
        refused = {node_of(name) for name in wanted if graph.get_tensor_by_name(name).dtype in UNFIT}
        if refused:
            return {}, refused
        with tf.compat.v1.Session(graph=graph) as session:
            values = dict(zip(wanted, session.run(wanted), strict=True))
    most = size + MAX_GROWTH if largest is None else largest
    return values, {node_of(name) for name, value in values.items() if value.nbytes > most}
