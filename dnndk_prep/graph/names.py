"""The names in a graph: a listing of all, with the reason for each chosen one, and new names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.errors import UsageError
from dnndk_prep.graph.artifact import TensorSpec
from dnndk_prep.graph.run import imported
from dnndk_prep.graph.topology import node_of, require

# TensorFlow's own rule for the name of an op (tensorflow/core/graph/validate.cc).
VALID_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")


@dataclass(frozen=True)
class Found:
    """A node that was chosen as an input or an output, and why."""

    name: str
    reason: str


def real_op(nodes: Mapping[str, NodeDef], name: str) -> str:
    """The op whose value `name` passes on unchanged: `name` itself, unless it is an Identity."""
    node = nodes[node_of(name)]
    if node.op == "Identity" and not node.input[0].startswith("^"):
        return real_op(nodes, node.input[0])
    return name


def op_names_text(graph_def: GraphDef, inputs: Sequence[Found], outputs: Sequence[Found]) -> str:
    """Inputs and outputs with the reason for the choice, then every op in order with its type and static shape."""
    shapes = _shapes(graph_def)
    width = max((len(node.name) for node in graph_def.node), default=0)
    kinds = max((len(node.op) for node in graph_def.node), default=0)
    marks = {node_of(found.name): "output" for found in outputs} | {node_of(found.name): "input" for found in inputs}
    lines = []
    for title, chosen in (("input", inputs), ("output", outputs)):
        for found in chosen:
            lines.append(f"{title:<7} {found.name:<{width}}  {shapes[node_of(found.name)]}  ({found.reason})")
    lines += ["", f"all {len(graph_def.node)} ops in order: name, type, dtype and shape of what they give"]
    for node in graph_def.node:
        mark = marks.get(node.name, "")
        lines.append(f"{mark:<7} {node.name:<{width}}  {node.op:<{kinds}}  {shapes[node.name]}".rstrip())
    return "\n".join(lines) + "\n"


def tensor_specs(graph_def: GraphDef, names: Sequence[str]) -> tuple[TensorSpec, ...]:
    """Shape and dtype of the first tensor of each node in `names`. Raises StageError for a name that is not there."""
    require(names, (node.name for node in graph_def.node), "node")
    graph = imported(graph_def)
    tensors = [graph.get_operation_by_name(name).outputs[0] for name in names]
    return tuple(
        TensorSpec(name, tuple(tensor.shape.as_list()) if tensor.shape.rank is not None else (), tensor.dtype.name)
        for name, tensor in zip(names, tensors, strict=True)
    )


def rename(graph_def: GraphDef, new_names: Mapping[str, str]) -> GraphDef:
    """`graph_def` with nodes renamed, old name to new name, wherever they are read.

    Raises StageError where an old name is not there, UsageError where a new one is taken or no valid name.
    """
    taken = {node.name for node in graph_def.node}
    require(new_names, taken, "node")
    for old, new in new_names.items():
        clash = new in taken - set(new_names) or list(new_names.values()).count(new) > 1
        if clash or not VALID_NAME.fullmatch(new):
            raise UsageError(
                f"{old!r} cannot be renamed to {new!r}",
                expected="a name that no other op has, of letters, digits and _./>-, first a letter or digit",
                found="a name that is taken" if clash else new,
                remedy="choose another name in graph.inputs or graph.outputs",
            )
    result = GraphDef()
    result.CopyFrom(graph_def)
    for node in result.node:
        node.name = new_names.get(node.name, node.name)
        references = [renamed_tensor(reference, new_names) for reference in node.input]
        del node.input[:]
        node.input.extend(references)
    return result


def renamed_tensor(reference: str, new_names: Mapping[str, str]) -> str:
    """A tensor (`x`, `x:1`) or control input (`^x`) under the new name of its node."""
    name = node_of(reference)
    return reference.replace(name, new_names[name], 1) if name in new_names else reference


def _shapes(graph_def: GraphDef) -> dict[str, str]:
    operations = imported(graph_def).get_operations()
    shapes = {op.name: ", ".join(map(_shape, op.outputs)) or "nothing" for op in operations}
    for node in graph_def.node:
        if node.op == "VarHandleOp":
            # A handle is a scalar; what the reader looks for is the variable behind it.
            held = tf.as_dtype(node.attr["dtype"].type).name
            shapes[node.name] = f"variable of {held} {_sizes(tf.TensorShape(node.attr['shape'].shape))}"
    return shapes


def _shape(tensor: tf.Tensor) -> str:
    return f"{tensor.dtype.name} {_sizes(tensor.shape)}"


def _sizes(shape: tf.TensorShape) -> str:
    if shape.rank is None:
        return "of unknown shape"
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
