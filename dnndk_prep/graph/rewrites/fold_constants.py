"""Computes what does not depend on any input.

Given:  Const -> Rsqrt -> Mul <- Const; Mul -> b        Result: Const (named as the Mul) -> b
"""

from __future__ import annotations

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import op_def_registry

from dnndk_prep.graph.freeze import constant
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import by_name, in_order, node_of, reachable

# A node of a loop has a value for each turn, even where its inputs are constants; a PlaceholderWithDefault may be fed.
FLOW = ("Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond", "PlaceholderWithDefault", "NoOp", "Assert")
# Fill and Tile make much out of little; a graph should not grow by more than this.
MAX_GROWTH = 2**20


def fold_constants(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with a constant in the place of each node that depends on constants alone."""
    nodes = by_name(graph_def)
    fixed = _fixed(graph_def)
    wanted = sorted(
        {
            name if ":" in name else f"{name}:0"
            for node in graph_def.node
            if node.name not in fixed
            for name in node.input
            if node_of(name) in fixed and nodes[node_of(name)].op != "Const" and not name.startswith("^")
        }
        | {f"{name}:0" for name in keep if name in fixed and nodes[name].op != "Const"}
    )
    constants = _computed(graph_def, nodes, wanted)
    if not constants:
        return Rewritten(graph_def)
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    whole = {node_of(name) for name in constants if name.endswith(":0")}
    for node in graph_def.node:
        if node.name in whole:
            result.node.append(constants[f"{node.name}:0"])
        else:
            result.node.append(node)
    # Further outputs of one node (Split, Unpack) become constants beside it.
    result.node.extend(value for name, value in constants.items() if not name.endswith(":0"))
    for node in result.node:
        for i, name in enumerate(node.input):
            if name in constants and not name.endswith(":0"):
                node.input[i] = constants[name].name
    return Rewritten(result)


def _fixed(graph_def: GraphDef) -> set[str]:
    """The nodes whose value follows from constants."""
    fixed: set[str] = set()
    for node in in_order(list(graph_def.node)):
        definition = op_def_registry.get(node.op)
        stateful = definition is None or definition.is_stateful or node.op in FLOW
        if node.op == "Const" or (
            not stateful and node.input and all(name in fixed for name in map(_plain, node.input))
        ):
            fixed.add(node.name)
    return fixed


def _plain(reference: str) -> str:
    # A control input is no name of a fixed node: it says when, not what.
    return reference if reference.startswith("^") else node_of(reference)


def _computed(graph_def: GraphDef, nodes: dict[str, NodeDef], wanted: list[str]) -> dict[str, NodeDef]:
    if not wanted:
        return {}
    part = GraphDef(versions=graph_def.versions)
    needed = reachable(nodes, wanted)
    part.node.extend(node for node in graph_def.node if node.name in needed)
    size = sum(node.ByteSize() for node in part.node)
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(part, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            values = session.run(wanted)
    return {
        name: constant(node_of(name) if name.endswith(":0") else name.replace(":", "/output_"), value)
        for name, value in zip(wanted, values, strict=True)
        if value.nbytes <= size + MAX_GROWTH
    }
