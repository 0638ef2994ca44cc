"""Finds what a graph is fed and what it is computed for, where nobody says: each choice with its reason.

A graph from a training holds more than the model: labels, losses, gradients, flags that tell training from inference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.errors import StageError
from dnndk_prep.graph.names import Found, real_op
from dnndk_prep.graph.safety import ops
from dnndk_prep.graph.topology import by_name, in_order, node_of, reachable

# The ops that a model learns with: what they depend on is the model's input.
LAYERS = (
    "Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "Conv3D", "MatMul", "BatchMatMul", "BatchMatMulV2",
    "BatchMatMulV3", "Gather", "GatherV2", "ResourceGather", "PartitionedCall", "StatefulPartitionedCall", "While",
    "StatelessWhile", "Einsum", "LSTMBlockCell", "BlockLSTM",
)  # fmt: skip
CALLS = ("While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase")
# Scopes and ops of a training.
TRAINING_SCOPE = re.compile(
    r"(^|/)(gradients|train|training|Adam|Momentum|RMSProp|GradientDescent|save|metrics)(_\d+)?/"
)
# Results for people and for losses, made from the model's own.
DERIVED = ("ArgMax", "ArgMin", "TopKV2", "TopK", "InTopK", "InTopKV2", "Equal", "Cast", "Shape", "Rank", "Size")
# They tell of sizes: what follows from them alone does not depend on the values.
SIZES = ("Shape", "ShapeN", "Rank", "Size")
WRITES = ("Assign", "Ref", "Apply")
LOSS = re.compile(r"cross_entropy|CrossEntropy|xent", re.IGNORECASE)
# A truth value is False in inference, unless its name asks for inference; for a share, the one that drops nothing.
INFERENCE = re.compile(r"(^|[/_])(is_?)?(infer(ence)?|eval(uation)?|test(ing)?|predict(ing)?)(_|$|/|ion)")
SHARES = (
    (re.compile(r"keep", re.IGNORECASE), 1.0),
    (re.compile(r"drop_?out|drop_?rate|drop_?prob", re.IGNORECASE), 0.0),
)


def find_constants(graph_def: GraphDef, but: Sequence[str] = ()) -> dict[str, tuple[np.ndarray, str]]:
    """The placeholders that tell training from inference, with their value in inference and the reason.

    Those in `but` are inputs, whatever they look like.
    """
    result: dict[str, tuple[np.ndarray, str]] = {}
    inputs = {node_of(name) for name in but}
    for node in graph_def.node:
        if node.op not in ("Placeholder", "PlaceholderWithDefault") or node.name in inputs:
            continue
        dtype = tf.as_dtype(node.attr["dtype"].type)
        shape = node.attr["shape"].shape if "shape" in node.attr else None
        is_scalar = shape is None or shape.unknown_rank or not shape.dim
        if not is_scalar:
            continue
        if dtype == tf.bool:
            flag = bool(INFERENCE.search(node.name.lower()))
            result[node.name] = np.array(flag), f"a truth value without a shape: {flag} is inference"
        elif dtype.is_floating:
            for pattern, share in SHARES:
                if pattern.search(node.name):
                    value = np.array(share, dtype.as_numpy_dtype)
                    result[node.name] = value, f"a share for dropout, by its name: {share} drops nothing"
                    break
    return result


def without_flags(graph_def: GraphDef, inputs: Mapping[str, str]) -> dict[str, str]:
    """The inputs of a signature, key to tensor, without the flags that tell training from inference.

    All of them, where nothing else is left.
    """
    flags = find_constants(graph_def)
    return {key: name for key, name in inputs.items() if node_of(name) not in flags} or dict(inputs)


def find_inputs(graph_def: GraphDef) -> list[Found]:
    """The nodes that must be fed: placeholders that a layer depends on, and those that no training reads.

    Flags of the training are left out, and so are labels, which losses alone read. If no layer depends on any, all are.
    """
    nodes, constants = by_name(graph_def), find_constants(graph_def)
    places = [node for node in graph_def.node if node.op == "Placeholder" and node.name not in constants]
    if not places:
        defaults = [n for n in graph_def.node if n.op == "PlaceholderWithDefault" and n.name not in constants]
        places = [node for node in defaults if _is_array(node)]
    layers = [node.name for node in graph_def.node if node.op in LAYERS and not is_training(node)]
    needed = reachable(nodes, layers)
    if not needed & {node.name for node in places}:
        return [Found(node.name, "a placeholder: it must be fed") for node in places]
    found = []
    for node in places:
        if node.name in needed:
            found.append(Found(node.name, "a placeholder that layers depend on"))
        elif not any(is_training(nodes[name]) for name in _depending(graph_def, [node.name])):
            found.append(Found(node.name, "a placeholder that no training depends on"))
    return found


def find_outputs(graph_def: GraphDef, inputs: Sequence[str] | None = None) -> list[Found]:
    """The nodes that the model is computed for: they depend on its inputs and on no label, and no layer reads them.

    What is made of them for a loss, an accuracy or a person (ArgMax) does not count where there is something else. An
    Identity at the end stands for the op whose value it passes on. Raises StageError where nothing is found.
    """
    nodes = by_name(graph_def)
    fed = [node_of(name) for name in inputs] if inputs else [found.name for found in find_inputs(graph_def)]
    constants = find_constants(graph_def, fed)
    others = {n.name for n in graph_def.node if n.op == "Placeholder" and n.name not in {*fed, *constants}}
    model, behind = _depending(graph_def, fed, by_value=True), _depending(graph_def, others)
    inside = {name for name in model - behind if not is_training(nodes[name]) and nodes[name].op != "Placeholder"}
    read = {node_of(name) for member in inside for name in nodes[member].input}
    updated = _updating(nodes, behind)
    ends = [name for name in nodes if name in inside and name not in read]
    ends = [name for name in ends if name not in updated] or ends
    ends = [name for name in ends if not _is_left_over(nodes, name)] or ends
    sources = {_real(nodes, _origin(nodes, name, inside)): name for name in reversed(ends)}
    sources = dict(reversed(sources.items()))
    chosen = [name for name in sources if nodes[name].op not in (*DERIVED, "NoOp", "Assert") and name not in fed]
    chosen = chosen or [name for name in sources if name not in fed] or list(sources)
    final = [name for name in chosen if not _is_read_by_others(nodes, name, chosen)] or chosen
    if not final:
        raise StageError(
            "no output was found in the graph",
            expected="a node that depends on an input",
            found=f"inputs: {', '.join(fed) or 'none'}",
            remedy="name the outputs: model.outputs",
        )
    depends = f"it depends on {', '.join(fed)}"
    return [Found(name, f"{_reader_of(nodes, name, sources[name])}, and {depends}") for name in final]


def is_training(node: NodeDef) -> bool:
    """Whether a node belongs to training, saving or watching."""
    return bool(
        node.op in ops("idle")
        or node.op.startswith(WRITES)
        or TRAINING_SCOPE.search(node.name)
        or LOSS.search(node.name)
        or LOSS.search(node.op)
    )


def _is_array(node: NodeDef) -> bool:
    """Not a file's name, nor a number that stands still."""
    shape = node.attr["shape"].shape
    return node.attr["dtype"].type != tf.string.as_datatype_enum and len(shape.dim) > 1


def _depending(graph_def: GraphDef, on: Sequence[str] | set[str], by_value: bool = False) -> set[str]:
    """The nodes that read one of `on`, directly or not.

    by_value: without those that only wait for one, know its size alone, or read a variable that was written from it.
    """
    found = set(on)
    again = True
    while again:
        # A loop leads back: what depends on its end is seen the second time.
        before = len(found)
        for node in in_order(list(graph_def.node)):
            if by_value and (node.op in SIZES or node.op.startswith(WRITES)):
                continue
            names = [name for name in node.input if not (by_value and name.startswith("^"))]
            if node.name not in found and any(node_of(name) in found for name in names):
                found.add(node.name)
        again = len(found) != before
    return found


def _updating(nodes: Mapping[str, NodeDef], behind: set[str]) -> set[str]:
    """What averages are updated from: written into variables, and not by way of a loss."""
    writes = [name for name, node in nodes.items() if node.op.startswith("Assign") and name not in behind]
    return reachable(dict(nodes), writes)


def _origin(nodes: Mapping[str, NodeDef], name: str, inside: set[str]) -> str:
    """Behind what is only made for people, the value that it is made of."""
    while nodes[name].op in DERIVED and len(nodes[name].input) and node_of(nodes[name].input[0]) in inside:
        name = node_of(nodes[name].input[0])
    return name


def _is_left_over(nodes: Mapping[str, NodeDef], name: str) -> bool:
    """Whether it is one of the Identities that TensorFlow 2 puts behind every output of a loop or a branch."""
    node = nodes[name]
    call = node_of(node.input[0]) if node.op == "Identity" else name
    return nodes[call].op in CALLS and name.startswith(f"{call}/Identity")


def _real(nodes: Mapping[str, NodeDef], name: str) -> str:
    """The op behind an Identity; the Identity itself where it hands on a further output of one."""
    real = real_op(nodes, name)
    return name if ":" in real else real


def _reader_of(nodes: Mapping[str, NodeDef], name: str, end: str) -> str:
    if nodes[end].op in DERIVED and end != name:
        return f"{end} ({nodes[end].op}) is made of it for people"
    return "no other op of the model reads its value"


def _is_read_by_others(nodes: Mapping[str, NodeDef], name: str, others: Sequence[str]) -> bool:
    """Whether another of the chosen ones is computed from this one: logits under the softmax."""
    return any(other != name and name in reachable(dict(nodes), [other]) for other in others)
