"""Removes nodes that hand their input on: Identity, CheckNumerics and what else only training and debugging need.

Given:  a -> Identity -> CheckNumerics -> b        Result: a -> b
Given:  a -> Identity (an output)                  Result: a, under the output's name
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.names import rename
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import by_name, node_of

PASS_THROUGH = ("Identity", "CheckNumerics", "StopGradient", "PreventGradient", "Snapshot", "PlaceholderWithDefault")
# Here an Identity marks a branch or holds an order, and a control input decides when a node runs.
ORDERED = ("Switch", "Merge", "Enter", "VarHandleOp", "VariableV2", "Variable")


def remove_pass_through(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph without pass-through nodes, and without control inputs where nothing depends on order."""
    result = GraphDef()
    result.CopyFrom(graph_def)
    ordered = any(node.op in ORDERED for node in result.node)
    if not ordered:
        for node in result.node:
            _set_inputs(node, (name for name in node.input if not name.startswith("^")))
    result, keep_free = _outputs_from_identities(result, keep)
    nodes = by_name(result)
    controls = {name[1:] for node in result.node for name in node.input if name.startswith("^")}
    gone = {
        node.name: node.input[0]
        for node in result.node
        if node.op in PASS_THROUGH and node.name not in keep_free and not _is_bound(node, nodes, controls)
    }
    for node in result.node:
        _set_inputs(node, (_source(name, gone) for name in node.input))
    left = [node for node in result.node if node.name not in gone]
    del result.node[:]
    result.node.extend(left)
    return Rewritten(result)


def _outputs_from_identities(graph_def: GraphDef, keep: frozenset[str]) -> tuple[GraphDef, frozenset[str]]:
    """An output that is a pass-through gives its name to the node it passes on, unless that one has to keep its own."""
    nodes = by_name(graph_def)
    taken: dict[str, str] = {}
    for name in sorted(keep):
        node = nodes[name]
        if node.op not in PASS_THROUGH or len(node.input) != 1:
            continue
        source = node.input[0]
        while nodes[node_of(source)].op in PASS_THROUGH and node_of(source) not in keep and ":" not in source:
            source = nodes[source].input[0]
        producer = nodes[node_of(source)]
        if producer.op == "Const" or ":" in source or producer.name in keep or producer.name in taken:
            continue
        taken[producer.name] = name
    freed = {old: f"{new}/passed_on" for old, new in zip(taken.values(), taken.values(), strict=True)}
    # First the Identity gives its name up, then the producer takes it.
    return rename(rename(graph_def, freed), taken), keep


def _is_bound(node: NodeDef, nodes: dict[str, NodeDef], controls: set[str]) -> bool:
    """Whether the node's place in the order of execution matters, or somebody feeds it."""
    if node.op == "PlaceholderWithDefault" and node.attr["dtype"].type == tf.string.as_datatype_enum:
        return True  # The file name of a Saver, with which kept variables are loaded.
    if node.name in controls or any(name.startswith("^") for name in node.input):
        return True
    return nodes[node_of(node.input[0])].op in ("Switch", "Enter", "VarHandleOp")


def _source(reference: str, gone: dict[str, str]) -> str:
    while not reference.startswith("^") and node_of(reference) in gone:
        reference = gone[node_of(reference)]
    return reference


def _set_inputs(node: NodeDef, names: Iterable[str]) -> None:
    names = list(names)
    del node.input[:]
    node.input.extend(names)
