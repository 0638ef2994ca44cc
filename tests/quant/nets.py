"""Small graphs, op by op, for the rules that the measured cases do not touch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.attr_value_pb2 import AttrValue

from dnndk_prep.quant.network import Node, attribute, const, node, to_graph_def
from dnndk_prep.quant.settings import Settings
from dnndk_prep.quant.vendor import Plan, plan

SHAPE = (None, 8, 8, 4)


class Net:
    """Nodes in the order in which they are made; every method gives the name of its last node."""

    def __init__(self, shape: Sequence[int | None] = SHAPE, dtype: tf.DType = tf.float32) -> None:
        self.nodes: list[Node] = []
        self.random = np.random.default_rng(0)
        self.placeholder("x", shape, dtype)

    def placeholder(self, name: str, shape: Sequence[int | None] = SHAPE, dtype: tf.DType = tf.float32) -> str:
        attrs = {
            "dtype": AttrValue(type=dtype.as_datatype_enum),
            "shape": AttrValue(shape=tf.TensorShape(shape).as_proto()),
        }
        return self.put(Node(name, "Placeholder", (), attrs))

    def put(self, item: Node) -> str:
        self.nodes.append(item)
        return item.name

    def op(self, kind: str, name: str, *inputs: str, **attrs: object) -> str:
        return self.put(node(name, kind, *inputs, **attrs))

    def put_int(self, kind: str, name: str, *inputs: str) -> str:
        """An op on int32: a slice, a pack, a product."""
        attrs: dict[str, object] = {"T": tf.int32}
        if kind == "StridedSlice":
            attrs |= {"Index": tf.int32, "shrink_axis_mask": 1}
        if kind == "Pack":
            attrs |= {"N": len(inputs), "axis": 0}
        return self.op(kind, name, *inputs, **attrs)

    def put_cast(self, name: str, source: str, kind: tf.DType) -> str:
        types = {"SrcT": kind, "DstT": tf.float32}
        return self.put(Node(name, "Cast", (source,), {key: attribute(value) for key, value in types.items()}))

    def const(self, name: str, value: object, dtype: type = np.float32) -> str:
        return self.put(const(name, np.array(value, dtype)))

    def weights(self, name: str, *shape: int) -> str:
        return self.const(name, self.random.normal(0, 0.3, shape))

    def conv(self, name: str, source: str, channels: int = 4, out: int = 4, kind: str = "Conv2D") -> str:
        """A 3 x 3 convolution <name> with the kernel <name>/k; a depthwise one has one filter a channel."""
        shape = (3, 3, channels, 1 if kind == "DepthwiseConv2dNative" else out)
        kernel = self.weights(f"{name}/k", *shape)
        return self.op(kind, name, source, kernel, strides=[1, 1, 1, 1], padding="SAME", data_format="NHWC")

    def biased(self, name: str, source: str, kind: str = "BiasAdd", bias: str = "bias", channels: int = 4) -> str:
        """The same with <name>/<bias> added by <name>/add."""
        conv = self.conv(name, source, channels)
        return self.op(kind, f"{name}/add", conv, self.weights(f"{name}/{bias}", 4))

    def norm(self, name: str, source: str, channels: int = 4) -> str:
        """FusedBatchNormV3 in inference, with <name>/gamma, beta, mean, var."""
        values = [self.const(f"{name}/{key}", self.random.uniform(0.5, 2, channels)) for key in ("gamma", "beta")]
        values += [self.const(f"{name}/{key}", self.random.uniform(0.5, 2, channels)) for key in ("mean", "var")]
        u = tf.float32
        return self.op(
            "FusedBatchNormV3", name, source, *values, U=u, epsilon=0.001, is_training=False, data_format="NHWC"
        )

    def mean(self, name: str, source: str, axes: Sequence[int] = (1, 2), keep_dims: bool = True) -> str:
        return self.op(
            "Mean", name, source, self.const(f"{name}/axes", axes, np.int32), keep_dims=keep_dims, Tidx=tf.int32
        )

    def pool(self, name: str, source: str, size: tuple[int, int] = (2, 2), kind: str = "MaxPool") -> str:
        sizes = [1, *size, 1]
        return self.op(kind, name, source, ksize=sizes, strides=sizes, padding="VALID", data_format="NHWC")

    def pad(self, name: str, source: str) -> str:
        """One more on each side of an image."""
        size = self.const(f"{name}/size", [[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)
        return self.op("Pad", name, source, size, Tpaddings=tf.int32)

    def reshape(self, name: str, source: str, *shape: int) -> str:
        return self.op("Reshape", name, source, self.const(f"{name}/shape", shape, np.int32), Tshape=tf.int32)

    def plan(self, *outputs: str, inputs: Sequence[str] = ("x",), **flags: object) -> Plan:
        """What is planned for the outputs; the last node if none is named."""
        ends = outputs or (self.nodes[-1].name,)
        return plan(to_graph_def(self.nodes), list(inputs), ends, {}, Settings(**flags))  # type: ignore[arg-type]


def fixes(made: Plan) -> dict[str, int]:
    """The modes of the FixNeurons by the nodes that they follow."""
    return {name: int(fix.mode) for name, fix in made.places.fixes.items()}


def ops(made: Plan) -> dict[str, str]:
    """The ops of the prepared nodes, constants left out."""
    return {item.name: item.op for item in made.prepared.nodes if item.op != "Const"}


def values(made: Plan) -> dict[str, np.ndarray]:
    """The constants of the prepared nodes."""
    return {item.name: item.value for item in made.prepared.nodes if item.value is not None}
