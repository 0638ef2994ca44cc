"""Removes nodes that hand their input on: Identity, CheckNumerics and what else only training and debugging need.

Given:  a -> Identity -> CheckNumerics -> b        Result: a -> b
Given:  a -> Identity (an output)                  Result: a, under the output's name
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.freeze import VARIABLES
from dnndk_prep.graph.names import rename
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.rewrites.orders import bound, without_orders
from dnndk_prep.graph.topology import by_name, node_of

PASS_THROUGH = (
    "Identity",
    # Output i is input i: what a custom gradient (swish) leaves in the graph.
    "IdentityN",
    "CheckNumerics",
    "StopGradient",
    "PreventGradient",
    "Snapshot",
    "PlaceholderWithDefault",
)


def remove_pass_through(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph without pass-through nodes, and without control inputs where nothing depends on order."""
    result = GraphDef()
    result.CopyFrom(graph_def)
    for node in result.node:
        # Colocation: TensorFlow refuses a node that is bound to one that is gone.
        node.attr.pop("_class", None)
    result = without_orders(result, keep)
    result = _outputs_from_identities(result, keep)
    nodes = by_name(result)
    controls = {name[1:] for node in result.node for name in node.input if name.startswith("^")}
    gone = {
        node.name: list(node.input)
        for node in result.node
        if node.op in PASS_THROUGH and node.name not in keep and not _is_bound(node, nodes, controls)
    }
    for node in result.node:
        _set_inputs(node, (_source(name, gone) for name in node.input))
    left = [node for node in result.node if node.name not in gone]
    del result.node[:]
    result.node.extend(left)
    return Rewritten(result)


def _outputs_from_identities(graph_def: GraphDef, keep: frozenset[str]) -> GraphDef:
    """An output that is a pass-through gives its name to the node it passes on, unless that one has to keep its own."""
    nodes = by_name(graph_def)
    read = {name for node in graph_def.node for name in node.input}
    taken: dict[str, str] = {}
    for name in sorted(keep):
        node = nodes[name]
        further = any(f"{name}:{i}" in read for i in range(1, len(node.input)))
        # Somebody may feed a PlaceholderWithDefault: what would be its default must not take its place.
        if (
            node.op not in PASS_THROUGH
            or node.op == "PlaceholderWithDefault"
            or further
            or any(source.startswith("^") for source in node.input)
        ):
            continue
        source = node.input[0]
        while nodes[node_of(source)].op in PASS_THROUGH and node_of(source) not in keep and ":" not in source:
            source = nodes[source].input[0]
        producer = nodes[node_of(source)]
        # A variable's name is its key in the checkpoint.
        if producer.op in ("Const", *VARIABLES) or ":" in source or producer.name in keep or producer.name in taken:
            continue
        taken[producer.name] = name
    freed = {name: f"{name}/passed_on" for name in taken.values()}
    # First the Identity gives its name up, then the producer takes it.
    return rename(rename(graph_def, freed), taken)


def _is_bound(node: NodeDef, nodes: dict[str, NodeDef], controls: set[str]) -> bool:
    """Whether the node's place in the order of execution matters, or somebody feeds it."""
    if node.op == "PlaceholderWithDefault" and node.attr["dtype"].type == tf.string.as_datatype_enum:
        return True  # The file name of a Saver, with which kept variables are loaded.
    return bound(node, nodes, controls)


def _source(reference: str, gone: dict[str, list[str]]) -> str:
    while not reference.startswith("^") and node_of(reference) in gone:
        _, _, port = reference.partition(":")
        reference = gone[node_of(reference)][int(port or 0)]
    return reference


def _set_inputs(node: NodeDef, names: Iterable[str]) -> None:
    names = list(names)
    del node.input[:]
    node.input.extend(names)
