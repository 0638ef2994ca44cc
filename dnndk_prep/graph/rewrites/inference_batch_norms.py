"""Turns batch norms that normalise by the batch they see into those of inference, by the averages kept for it.

Given:  FusedBatchNorm(x, gamma, beta, [], []), is_training, beside the variables moving_mean and moving_variance
Result: FusedBatchNorm(x, gamma, beta, moving_mean, moving_variance), not is_training

TensorFlow 1 keeps the averages beside gamma or beta, under names that every layer library uses. They are not found in a
frozen graph, in which nothing reads them.
"""

from __future__ import annotations

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.errors import StageError
from dnndk_prep.graph.channels import BATCH_NORMS
from dnndk_prep.graph.freeze import VARIABLES
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.rewrites.layer_norms import of_rows_alone
from dnndk_prep.graph.topology import by_name, flag, node_of

AVERAGES = ("moving_mean", "moving_variance")


def average_variables(graph_def: GraphDef) -> list[str]:
    """The variables that batch norms in training mode leave unread; none where there is no such batch norm."""
    if not any(_trains(node) for node in graph_def.node):
        return []
    return [n.name for n in graph_def.node if n.op in VARIABLES and n.name.rpartition("/")[2] in AVERAGES]


def inference_batch_norms(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with every batch norm in inference mode. Raises StageError for one whose averages are not there."""
    graph_def = of_rows_alone(graph_def, keep)
    nodes = by_name(graph_def)
    wrong = [node for node in graph_def.node if _trains(node)]
    if not wrong:
        return Rewritten(graph_def)
    result, notes = GraphDef(), []
    result.CopyFrom(graph_def)
    made = by_name(result)
    for node in wrong:
        new = made[node.name]
        for place, average in zip((3, 4), _averages(nodes, node), strict=True):
            new.input[place] = average.name
            if average.op == "VarHandleOp":
                read = result.node.add(name=f"{node.name}/{average.name.rpartition('/')[2]}", op="ReadVariableOp")
                read.input.append(average.name)
                read.attr["dtype"].CopyFrom(average.attr["dtype"])
                new.input[place] = read.name
        new.attr["is_training"].b = False
        notes.append(f"{node.name} was in training mode: it normalises by its moving averages now")
    return Rewritten(result, tuple(notes))


def _trains(node: NodeDef) -> bool:
    return node.op in BATCH_NORMS and flag(node, "is_training", default=True)


def _averages(nodes: dict[str, NodeDef], node: NodeDef) -> list[NodeDef]:
    """The variables of the averages: beside gamma, beside beta, or in the scope of the node."""
    places = [_variable(nodes, name) for name in node.input[1:3]]
    scopes = [place.rpartition("/")[0] for place in places if place]
    scope = node.name
    while scope := scope.rpartition("/")[0]:
        scopes.append(scope)
    for scope in scopes:
        found = [nodes.get(f"{scope}/{name}") for name in AVERAGES]
        known = [variable for variable in found if variable is not None and variable.op in VARIABLES]
        if len(known) == len(AVERAGES):
            return known
    raise StageError(
        f"the batch norm {node.name} normalises by the batch it sees: the graph is one of training",
        expected="a graph of inference, or moving_mean and moving_variance among its variables",
        found=f"none beside {places[0] or node.name}",
        remedy="export the graph with training=False, or give the checkpoint with the graph of the training (.meta)",
    )


def _variable(nodes: dict[str, NodeDef], reference: str) -> str | None:
    node = nodes[node_of(reference)]
    while node.op in ("Identity", "ReadVariableOp", "Enter", "Cast") and node.input:
        node = nodes[node_of(node.input[0])]
    return node.name if node.op in VARIABLES else None
