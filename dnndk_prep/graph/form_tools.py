"""What the older forms are built with: the shapes and constants of one graph, new nodes, and names that are free."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.run import imported
from dnndk_prep.graph.topology import by_name, node_of
from dnndk_prep.graph.weights import constant, stand_ins, value_of
from dnndk_prep.wire import LARGE

INT32 = tf.int32.as_datatype_enum


class Tools:
    """One graph, looked at while parts of it get other forms. `keep` are names that nothing new may take."""

    def __init__(self, graph_def: GraphDef, keep: frozenset[str] = frozenset()) -> None:
        self.graph_def = graph_def
        self.nodes = by_name(graph_def)
        self._taken = {*self.nodes, *keep}
        self._shapes: dict[str, tf.TensorShape] | None = None

    def shape(self, reference: str) -> tf.TensorShape:
        """The static shape of a tensor of the graph; unknown for one that is not in it (yet)."""
        if self._shapes is None:
            operations = imported(_without_weights(self.graph_def)).get_operations()
            self._shapes = {tensor.name: tensor.shape for op in operations for tensor in op.outputs}
        return self._shapes.get(reference if ":" in reference else f"{reference}:0", tf.TensorShape(None))

    def sizes(self, reference: str) -> list[int | None] | None:
        """The static shape as a list; None where not even the rank is known."""
        shape = self.shape(reference)
        return None if shape.rank is None else shape.as_list()

    def value(self, reference: str) -> np.ndarray | None:
        """What a Const holds, also one behind Identities; None for anything else."""
        node = self.nodes.get(node_of(reference))
        while node is not None and node.op == "Identity":
            node = self.nodes.get(node_of(node.input[0]))
        return value_of(node) if node is not None and node.op == "Const" else None

    def free(self, name: str) -> str:
        """`name`, or with a number behind it where it is taken; it is taken from now on."""
        candidate, number = name, 0
        while candidate in self._taken:
            number += 1
            candidate = f"{name}_{number}"
        self._taken.add(candidate)
        return candidate

    def const(self, name: str, value: object, dtype: type[np.generic] = np.int32) -> NodeDef:
        """A constant under a free name."""
        return constant(self.free(name), np.array(value, dtype))

    def node(self, op: str, name: str, inputs: list[str], like: NodeDef, **types: int) -> NodeDef:
        """A node with the T and the device of `like`; it is called `name` where that is like's own, else freely."""
        made = NodeDef(name=name if name == like.name else self.free(name), op=op, input=inputs, device=like.device)
        made.attr["T"].CopyFrom(like.attr["T"])
        for key, value in types.items():
            made.attr[key].type = value
        return made

    def reshape(self, name: str, tensor: str, shape: str, like: NodeDef) -> NodeDef:
        """A Reshape to the int32 tensor `shape`."""
        return self.node("Reshape", name, [tensor, shape], like, Tshape=INT32)

    @cached_property
    def looping(self) -> frozenset[str]:
        """The nodes inside loops: between Enter and Exit. A constant that they read must wait for one of them."""
        readers: dict[str, list[str]] = {}
        for node in self.graph_def.node:
            for name in node.input:
                readers.setdefault(node_of(name), []).append(node.name)
        found: set[str] = set()
        waiting = [node.name for node in self.graph_def.node if node.op == "Enter"]
        while waiting:
            name = waiting.pop()
            if name not in found and self.nodes[name].op != "Exit":
                found.add(name)
                waiting += readers.get(name, [])
        return frozenset(found)

    def side_outputs(self, node: NodeDef) -> bool:
        """Whether anything reads more of `node` than its first output."""
        prefix = f"{node.name}:"
        return any(name.startswith(prefix) for reader in self.graph_def.node for name in reader.input)


def _without_weights(graph_def: GraphDef) -> GraphDef:
    """The graph with placeholders for large constants: an import copies them, and shapes need none of their numbers."""
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in stand_ins(graph_def)[0].node:
        if node.op != "Const" or node.ByteSize() <= LARGE:
            result.node.append(node)
            continue
        stand_in = result.node.add(name=node.name, op="Placeholder")
        stand_in.attr["dtype"].CopyFrom(node.attr["dtype"])
        stand_in.attr["shape"].shape.CopyFrom(node.attr["value"].tensor.tensor_shape)
    return result
