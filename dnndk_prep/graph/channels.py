"""Which nodes scale and shift channels by constants, and which layers can take that into their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.topology import by_name, flag, node_of
from dnndk_prep.graph.weights import value_of

BATCH_NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
# The layers that take a scale and an offset in, with the rank of their result; all have the kernel as second input.
LAYERS = {"Conv2D": 4, "DepthwiseConv2dNative": 4, "Conv2DBackpropInput": 4, "MatMul": 2, "Conv3D": 5}
KERNEL = 1
ADDS = ("BiasAdd", "Add", "AddV2", "Sub")
CHANNELS_LAST = ("NHWC", "NDHWC")


@dataclass(frozen=True)
class Affine:
    """What nodes do to each channel: y = x * scale + offset, in float64."""

    scale: np.ndarray
    offset: np.ndarray

    @classmethod
    def shift(cls, offset: np.ndarray) -> Affine:
        return cls(np.ones(offset.shape), offset)

    def then(self, other: Affine) -> Affine:
        return Affine(self.scale * other.scale, self.offset * other.scale + other.offset)

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.scale).all() and np.isfinite(self.offset).all())


@dataclass(frozen=True)
class Layer:
    """A convolution or dense node with a constant kernel."""

    node: NodeDef
    kernel: np.ndarray
    data_format: str

    @property
    def channels(self) -> int:
        return int(np.prod([self.kernel.shape[axis] for axis in self._output_axes]))

    def scaled(self, scale: np.ndarray) -> np.ndarray:
        """The kernel with each output channel multiplied by its number of `scale`, in the kernel's dtype."""
        axes = [axis % self.kernel.ndim for axis in self._output_axes]
        shape = [size if axis in axes else 1 for axis, size in enumerate(self.kernel.shape)]
        return (self.kernel.astype(np.float64) * scale.reshape(shape)).astype(self.kernel.dtype)

    @property
    def _output_axes(self) -> tuple[int, ...]:
        if self.node.op == "DepthwiseConv2dNative":
            # Channel c with multiplier m: output channel c * multiplier + m.
            return (2, 3)
        if self.node.op == "Conv2DBackpropInput":
            return (2,)
        return (0,) if flag(self.node, "transpose_b") else (-1,)


class View:
    """A GraphDef by names: its nodes, who reads each (once an input), and its constants."""

    def __init__(self, graph_def: GraphDef) -> None:
        self.nodes = by_name(graph_def)
        self.readers: dict[str, list[str]] = {}
        for node in graph_def.node:
            for name in node.input:
                self.readers.setdefault(node_of(name), []).append(node.name)

    def constant(self, reference: str) -> np.ndarray | None:
        """The value of a Const; None for any other node."""
        node = self.nodes[node_of(reference)]
        return value_of(node) if node.op == "Const" else None

    def layer(self, node: NodeDef) -> Layer | None:
        """`node` as a layer; None if it is neither convolution nor dense, or its kernel no float constant."""
        if node.op not in LAYERS or (kernel := self.constant(node.input[KERNEL])) is None:
            return None
        # Half precision would round the scaled kernel by more than the tolerance.
        if kernel.dtype not in (np.float32, np.float64):
            return None
        return Layer(node, kernel, text(node, "data_format", "NDHWC" if node.op == "Conv3D" else "NHWC"))

    def reads_further_outputs(self, node: NodeDef) -> bool:
        """Whether anything reads more of `node` than its first output."""
        readers = (self.nodes[name] for name in self.readers.get(node.name, []))
        return any(name.startswith(f"{node.name}:") for reader in readers for name in reader.input)

    def step(self, node: NodeDef, source: str, layer: Layer, rank: int) -> Affine | None:
        """What `node` does to each channel of `source`, of rank `rank`; None if it does anything else."""
        if node.op in BATCH_NORMS:
            found = self.batch_norm(node, layer)
            return found if isinstance(found, Affine) and node.input[0] == source else None
        if node.op not in (*ADDS, "Mul") or len(node.input) != 2 or source not in node.input:
            return None
        is_first = node.input[0] == source
        value = self.vector(node.input[1] if is_first else node.input[0])
        if value is None or value.ndim > rank or value.size != layer.channels or not _fits(node, layer):
            return None
        offset = value.reshape(-1).astype(np.float64)
        if node.op == "Mul":
            return Affine(offset, np.zeros(offset.shape))
        if node.op == "Sub":
            return Affine.shift(-offset) if is_first else Affine(np.full(offset.shape, -1.0), offset)
        return Affine.shift(offset)

    def vector(self, reference: str) -> np.ndarray | None:
        """A constant with one number a channel, channels last; None if it is none.

        A single number of rank 0 is none: it is part of an activation (the 3 in hard-sigmoid's relu6(x + 3) / 6), which
        the quantizers know by its form.
        """
        value = self.constant(reference)
        if value is None or value.ndim == 0 or value.size != value.shape[-1] or value.dtype.kind != "f":
            return None
        return value

    def batch_norm(self, node: NodeDef, layer: Layer | None) -> Affine | str:
        """What a fused batch norm does to each channel, or the reason why it cannot be a constant scale and offset."""
        if flag(node, "is_training", default=True):
            return "it is in training mode: it normalises by the batch it sees"
        if self.reads_further_outputs(node):
            return "the statistics that it gives beside its result are read"
        values = [self.constant(name) for name in node.input[1:5]]
        if any(value is None for value in values):
            return "its parameters are not constant"
        gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
        if layer is not None:
            data_format = text(node, "data_format", "NHWC")
            if data_format != layer.data_format:
                return f"it is {data_format}, and {layer.node.name} is {layer.data_format}"
            if gamma.shape != (layer.channels,):
                return f"it has {gamma.size} channels, and {layer.node.name} has {layer.channels}"
        epsilon = node.attr["epsilon"].f if "epsilon" in node.attr else 1e-4
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = gamma / np.sqrt(variance + epsilon)
            affine = Affine(scale, beta - mean * scale)
        return affine if affine.is_finite else "its variance and epsilon are 0 or not numbers"


def _fits(node: NodeDef, layer: Layer) -> bool:
    """Whether a vector of `node` lies along the channels: all but BiasAdd broadcast along the last axis."""
    is_last = layer.data_format in CHANNELS_LAST
    if node.op == "BiasAdd":
        return (text(node, "data_format", "NHWC") == "NHWC") == is_last
    return is_last


def text(node: NodeDef, attribute: str, default: str) -> str:
    """A string attribute, or `default` where the node leaves it to the op's own."""
    return node.attr[attribute].s.decode() if attribute in node.attr else default
