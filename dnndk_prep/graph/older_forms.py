"""Older forms of nodes that an old TensorFlow does not know, exactly equal in value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.freeze import constant
from dnndk_prep.graph.run import imported
from dnndk_prep.graph.topology import by_name, flag, node_of


class Forms:
    """The older forms for the nodes of one graph. `keep` are names that must stay the name of the result."""

    def __init__(self, graph_def: GraphDef, keep: frozenset[str]) -> None:
        self._graph_def, self._keep = graph_def, keep
        self._nodes = by_name(graph_def)
        self._shapes: dict[str, tf.TensorShape] | None = None
        self._forms: dict[str, Callable[[NodeDef], list[NodeDef] | None]] = {
            "FusedBatchNormV3": self._batch_norm,
            "FusedBatchNormV2": self._batch_norm,
            "LeakyRelu": self._leaky_relu,
            "AddV2": self._add,
            "BatchMatMulV2": self._batch_matmul,
            "Conv2D": self._padded,
            "DepthwiseConv2dNative": self._padded,
            "ResizeNearestNeighbor": self._resize_nearest,
            "Softmax": self._softmax,
            "LogSoftmax": self._softmax,
        }

    def kernel_problem(self, node: NodeDef, reader: str) -> str | None:
        """What the reader's registry allows and its kernel refuses when the graph runs; None if nothing."""
        if reader == "1.9" and node.op in ("Softmax", "LogSoftmax") and node.name in self._nodes:
            rank = self._shape(node.input[0]).rank if node_of(node.input[0]) in self._nodes else 2
            return None if rank == 2 else f"{node.op} of rank {rank}; its kernel takes matrices alone"
        return None

    def older(self, node: NodeDef) -> list[NodeDef] | None:
        """Nodes that compute the same, the last under the name of `node`; None if there is no such form."""
        form = self._forms.get(node.op)
        return None if form is None else form(node)

    def _batch_norm(self, node: NodeDef) -> list[NodeDef] | None:
        """FusedBatchNorm: the same first result in float32; the others are for training alone."""
        float32 = tf.float32.as_datatype_enum
        if "data_format" in node.attr and node.attr["data_format"].s not in (b"NHWC", b"NCHW"):
            return None  # After a 3-D convolution: the older op knows images alone.
        if (
            flag(node, "is_training", default=True)
            or node.attr["T"].type != float32
            or node.attr["U"].type != float32
            or self._side_outputs(node)
        ):
            return None
        new = NodeDef(name=node.name, op="FusedBatchNorm", input=node.input, device=node.device)
        for name in ("T", "epsilon", "data_format", "is_training"):
            if name in node.attr:
                new.attr[name].CopyFrom(node.attr[name])
        return [new]

    def _side_outputs(self, node: NodeDef) -> bool:
        prefix = f"{node.name}:"
        return any(name.startswith(prefix) for reader in self._graph_def.node for name in reader.input)

    def _leaky_relu(self, node: NodeDef) -> list[NodeDef] | None:
        """Maximum(x * alpha, x): equal while alpha is at most 1, and a form that the quantizers recognise."""
        alpha = node.attr["alpha"].f if "alpha" in node.attr else 0.2
        if alpha > 1 or node.attr["T"].type != tf.float32.as_datatype_enum:
            return None
        slope = constant(self._free(f"{node.name}/alpha"), np.array(alpha, np.float32))
        scaled = self._node("Mul", self._free(f"{node.name}/mul"), [node.input[0], slope.name], node)
        return [slope, scaled, self._node("Maximum", node.name, [scaled.name, node.input[0]], node)]

    def _add(self, node: NodeDef) -> list[NodeDef]:
        return [self._node("Add", node.name, list(node.input), node)]

    def _batch_matmul(self, node: NodeDef) -> list[NodeDef] | None:
        """BatchMatMul, which does not broadcast: equal where both have the same leading sizes."""
        x, y = (self._shape(name) for name in node.input)
        if x.rank is None or x.rank != y.rank or not x[:-2].is_compatible_with(y[:-2]):
            return None
        new = self._node("BatchMatMul", node.name, list(node.input), node)
        for name in ("adj_x", "adj_y"):
            new.attr[name].b = flag(node, name)
        return [new]

    def _softmax(self, node: NodeDef) -> list[NodeDef] | None:
        """Softmax over the rows of a matrix, and back to the shape there was."""
        channels = self._shape(node.input[0]).as_list()[-1] if self._shape(node.input[0]).rank else None
        if channels is None:
            return None
        shape = self._node("Shape", self._free(f"{node.name}/shape"), [node.input[0]], node)
        shape.attr["out_type"].type = tf.int32.as_datatype_enum
        rows = constant(self._free(f"{node.name}/rows_shape"), np.array([-1, channels], np.int32))
        matrix = self._reshape(f"{node.name}/rows", node.input[0], rows.name, node)
        softmax = self._node(node.op, self._free(f"{node.name}/of_rows"), [matrix.name], node)
        return [shape, rows, matrix, softmax, self._reshape(node.name, softmax.name, shape.name, node)]

    def _reshape(self, name: str, tensor: str, shape: str, like: NodeDef) -> NodeDef:
        new = self._node("Reshape", name if name == like.name else self._free(name), [tensor, shape], like)
        new.attr["Tshape"].type = tf.int32.as_datatype_enum
        return new

    def _padded(self, node: NodeDef) -> list[NodeDef] | None:
        """A Pad before the convolution, which then is VALID."""
        if node.attr["padding"].s != b"EXPLICIT":
            return None
        sides = np.array(node.attr["explicit_paddings"].list.i, np.int32).reshape(-1, 2)
        amounts = constant(self._free(f"{node.name}/paddings"), sides)
        pad = self._node("Pad", self._free(f"{node.name}/pad"), [node.input[0], amounts.name], node)
        pad.attr["Tpaddings"].type = tf.int32.as_datatype_enum
        new = NodeDef()
        new.CopyFrom(node)
        new.input[0] = pad.name
        new.attr["padding"].s = b"VALID"
        del new.attr["explicit_paddings"]
        return [amounts, pad, new]

    def _resize_nearest(self, node: NodeDef) -> list[NodeDef] | None:
        """Growing by a whole factor f, floor((i + 0.5) / f) is floor(i / f): half pixels change nothing."""
        if flag(node, "align_corners") or not (self._is_multiple(node) or self._grows_statically(node)):
            return None
        result = NodeDef()
        result.CopyFrom(node)
        del result.attr["half_pixel_centers"]
        return [result]

    def _grows_statically(self, node: NodeDef) -> bool:
        before, after = self._shape(node.input[0]), self._shape(node.name)
        if before.rank != 4 or after.rank != 4:
            return False
        pairs = list(zip(before.as_list()[1:3], after.as_list()[1:3], strict=True))
        return all(old and new and new % old == 0 for old, new in pairs)

    def _is_multiple(self, node: NodeDef) -> bool:
        """Whether the size is Shape(x)[1:3] * whole numbers, with x the image: Keras writes it where sizes are free."""
        size = self._nodes[node_of(node.input[1])]
        if size.op != "Mul":
            return False
        sliced, factors = (self._nodes[node_of(name)] for name in size.input)
        if sliced.op != "StridedSlice" or factors.op != "Const":
            return False
        shape = self._nodes[node_of(sliced.input[0])]
        bounds = [self._nodes[node_of(name)] for name in sliced.input[1:]]
        values = [tf.make_ndarray(node.attr["value"].tensor).tolist() for node in bounds if node.op == "Const"]
        is_plain = not any(sliced.attr[name].i for name in sliced.attr if name.endswith("_mask"))
        of_image = shape.op == "Shape" and node_of(shape.input[0]) == node_of(node.input[0])
        return of_image and is_plain and values == [[1], [3], [1]]

    def _shape(self, reference: str) -> tf.TensorShape:
        if self._shapes is None:
            operations = imported(self._graph_def).get_operations()
            self._shapes = {tensor.name: tensor.shape for op in operations for tensor in op.outputs}
        return self._shapes[reference if ":" in reference else f"{reference}:0"]

    def _node(self, op: str, name: str, inputs: list[str], like: NodeDef) -> NodeDef:
        node = NodeDef(name=name, op=op, input=inputs, device=like.device)
        node.attr["T"].CopyFrom(like.attr["T"])
        return node

    def _free(self, name: str) -> str:
        candidate, number = name, 0
        while candidate in self._nodes or candidate in self._keep:
            number += 1
            candidate = f"{name}_{number}"
        return candidate
