"""Folds batch norms, and whatever else scales and shifts channels by constants, into the convolution before them.

Given:  Conv2D -> [BiasAdd] -> FusedBatchNormV3                      (fused)
        Conv2D -> [BiasAdd] -> Mul(const) -> AddV2/Sub(const)        (decomposed, after constant folding)
Result: Conv2D (scaled kernel) -> BiasAdd

The same for DepthwiseConv2dNative, MatMul, Conv3D and Conv2DBackpropInput. All channels of a kernel are scaled at once
in float64: TensorFlow's own fold walks over the weights in a Python loop and takes minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.freeze import constant
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import by_name, flag, node_of

BATCH_NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "Conv3D", "Conv2DBackpropInput")
ADDS = ("BiasAdd", "Add", "AddV2", "Sub")
# They move values about and leave channels alone: a dilated convolution stands between two of them.
MOVES = ("BatchToSpaceND",)
KERNEL = 1


@dataclass(frozen=True)
class Affine:
    """What a chain of nodes does to each channel: y = x * scale + offset, in float64."""

    scale: np.ndarray
    offset: np.ndarray

    def then(self, scale: np.ndarray, offset: np.ndarray) -> Affine:
        return Affine(self.scale * scale, self.offset * scale + offset)


def fold_batch_norms(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with each chain folded; the notes name every batch norm that stays, and why."""
    return _Folder(graph_def, keep).run()


class _Folder:
    def __init__(self, graph_def: GraphDef, keep: frozenset[str]) -> None:
        self.graph_def, self.keep = GraphDef(), keep
        self.graph_def.CopyFrom(graph_def)
        self.nodes = by_name(self.graph_def)
        self.readers: dict[str, list[str]] = {}
        for node in self.graph_def.node:
            for name in node.input:
                self.readers.setdefault(node_of(name), []).append(node.name)
        self.gone: set[str] = set()
        self.renamed: dict[str, str] = {}
        self.made: dict[str, list[NodeDef]] = {}

    def run(self) -> Rewritten:
        for node in list(self.graph_def.node):
            if node.op in CONVOLUTIONS and self._const(node.input[KERNEL]) is not None:
                self._fold(node)
        result = GraphDef(versions=self.graph_def.versions, library=self.graph_def.library)
        for node in self.graph_def.node:
            result.node.extend(self.made.get(node.name, ()))
            if node.name not in self.gone:
                result.node.append(node)
        for node in result.node:
            for i, name in enumerate(node.input):
                if node_of(name) in self.renamed and not name.startswith("^"):
                    node.input[i] = self.renamed[node_of(name)]
        return Rewritten(result, tuple(self._left(result)))

    def _fold(self, conv: NodeDef) -> None:
        channels = self._channels(conv)
        place, affine = conv, Affine(np.ones(channels), np.zeros(channels))
        chain: list[NodeDef] = []
        while (following := self._only_reader(place)) is not None:
            if following.op in MOVES and not chain and following.input[0] == place.name:
                place = following
                continue
            step = self._step(following, place.name, affine, self._format(conv))
            if step is None:
                break
            affine, place = step, following
            chain.append(following)
        if not chain or (len(chain) == 1 and chain[0].op == "BiasAdd"):
            return
        self._scale_kernel(conv, affine.scale)
        self._add_bias(conv, chain, affine.offset)

    def _only_reader(self, node: NodeDef) -> NodeDef | None:
        readers = self.readers.get(node.name, [])
        # An output is read by whoever runs the graph: its value must not change.
        if len(readers) != 1 or node.name in self.keep or node.name in self.gone:
            return None
        return self.nodes[readers[0]]

    def _step(self, node: NodeDef, source: str, affine: Affine, data_format: str) -> Affine | None:
        """What `node` adds to the chain that ends at `source`; None if it is no constant scaling of channels."""
        width = len(affine.scale)
        if node.op in BATCH_NORMS:
            return self._batch_norm(node, source, affine, data_format)
        if node.op not in (*ADDS, "Mul") or len(node.input) != 2:
            return None
        other = node.input[1] if node.input[0] == source else node.input[0]
        value = self._vector(other, width, data_format, node.op == "BiasAdd")
        if value is None:
            return None
        if node.op == "Mul":
            return affine.then(value, np.zeros(width))
        if node.op == "Sub":
            subtracted = node.input[0] == source
            return affine.then(np.full(width, 1.0 if subtracted else -1.0), -value if subtracted else value)
        return affine.then(np.ones(width), value)

    def _batch_norm(self, node: NodeDef, source: str, affine: Affine, data_format: str) -> Affine | None:
        if self._trains(node) or node.input[0] != source or _text(node, "data_format", "NHWC") != data_format:
            return None
        values = [self._const(name) for name in node.input[1:5]]
        if any(value is None or value.shape != affine.scale.shape for value in values):
            return None
        if self._side_outputs(node):
            return None
        gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
        scale = gamma / np.sqrt(variance + np.float64(node.attr["epsilon"].f))
        return affine.then(scale, beta - mean * scale)

    def _side_outputs(self, node: NodeDef) -> bool:
        """Whether anything reads the statistics that a batch norm gives beside its result."""
        readers = (self.nodes[name] for name in self.readers.get(node.name, []))
        return any(name.startswith(f"{node.name}:") for reader in readers for name in reader.input)

    def _trains(self, node: NodeDef) -> bool:
        return flag(node, "is_training", default=True)

    def _scale_kernel(self, conv: NodeDef, scale: np.ndarray) -> None:
        kernel = self.nodes[node_of(conv.input[KERNEL])]
        value = _scaled(conv, np.asarray(self._const(kernel.name), np.float64), scale)
        if self.readers[kernel.name] == [conv.name] and kernel.name not in self.keep:
            kernel.CopyFrom(constant(kernel.name, value.astype(np.float32)))
            return
        # Another convolution reads the same kernel: it keeps the unscaled one.
        copy = constant(self._free(f"{_scope(conv.name)}/kernel"), value.astype(np.float32))
        self.readers[kernel.name].remove(conv.name)
        self.made.setdefault(conv.name, []).append(copy)
        self.nodes[copy.name] = copy
        self.readers[copy.name] = [conv.name]
        conv.input[KERNEL] = copy.name

    def _add_bias(self, conv: NodeDef, chain: list[NodeDef], offset: np.ndarray) -> None:
        """One BiasAdd in the place of the chain; it keeps an output's name, else it is called after the layer."""
        first, last = chain[0], chain[-1]
        source = next(name for name in first.input if self._reads_conv(name, conv))
        self.gone.update(node.name for node in chain)
        name = last.name if last.name in self.keep else self._free(f"{_scope(conv.name)}/BiasAdd")
        bias = constant(self._free(f"{_scope(conv.name)}/bias"), offset.astype(np.float32))
        add = NodeDef(name=name, op="BiasAdd", input=[source, bias.name], device=conv.device)
        add.attr["T"].type = tf.float32.as_datatype_enum
        add.attr["data_format"].s = self._format(conv).encode()
        self.made.setdefault(last.name, []).extend([bias, add])
        self.nodes[bias.name], self.nodes[name] = bias, add
        self.readers[name] = self.readers.get(last.name, [])
        if name != last.name:
            self.renamed[last.name] = name

    def _reads_conv(self, name: str, conv: NodeDef) -> bool:
        node = self.nodes[node_of(name)]
        while node.op in MOVES:
            node = self.nodes[node_of(node.input[0])]
        return node is conv

    def _free(self, name: str) -> str:
        """`name`, or with a number behind it where a node that stays has it."""
        candidate, number = name, 0
        while candidate in self.nodes and candidate not in self.gone:
            number += 1
            candidate = f"{name}_{number}"
        return candidate

    def _const(self, name: str) -> np.ndarray | None:
        node = self.nodes[node_of(name)]
        return tf.make_ndarray(node.attr["value"].tensor) if node.op == "Const" else None

    def _vector(self, name: str, width: int, data_format: str, is_bias: bool) -> np.ndarray | None:
        """The constant as one number a channel; None if it is none, or varies over more than channels."""
        value = self._const(name)
        if value is None or value.dtype != np.float32:
            return None
        wide = value.size == width and value.shape[-1:] == (width,) and (data_format != "NCHW" or is_bias)
        if wide or value.size == 1:
            # A rank above the convolution's would add an axis to its result.
            return np.broadcast_to(value.reshape(-1).astype(np.float64), (width,)) if value.ndim <= 4 else None
        return None

    def _channels(self, conv: NodeDef) -> int:
        shape = tuple(dim.size for dim in self.nodes[node_of(conv.input[KERNEL])].attr["value"].tensor.tensor_shape.dim)
        if conv.op == "DepthwiseConv2dNative":
            return shape[2] * shape[3]
        if conv.op == "Conv2DBackpropInput":
            return shape[2]
        return shape[0] if flag(conv, "transpose_b") else shape[-1]

    def _format(self, conv: NodeDef) -> str:
        return "NHWC" if conv.op in ("MatMul", "Conv3D") else _text(conv, "data_format", "NHWC")

    def _left(self, graph_def: GraphDef) -> Iterator[str]:
        nodes = by_name(graph_def)
        for node in graph_def.node:
            if node.op in BATCH_NORMS:
                before = nodes[node_of(node.input[0])]
                yield f"{node.name} stays: {self._reason(node, before)}"

    def _reason(self, node: NodeDef, before: NodeDef) -> str:
        if self._trains(node):
            return "it is in training mode"
        if before.op not in (*CONVOLUTIONS, "BiasAdd", *MOVES):
            return f"it follows {before.name} ({before.op}), and only a convolution or a dense layer can take it in"
        if len(self.readers.get(before.name, [])) > 1 or before.name in self.keep:
            return f"{before.name} is read by others, too"
        return "its parameters or its data format do not fit the convolution before it"


def _scaled(conv: NodeDef, kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
    if conv.op == "DepthwiseConv2dNative":
        return kernel * scale.reshape(kernel.shape[2:])
    if conv.op == "Conv2DBackpropInput":
        return kernel * scale[:, np.newaxis]
    if conv.op == "MatMul" and flag(conv, "transpose_b"):
        return kernel * scale[:, np.newaxis]
    return kernel * scale


def _scope(name: str) -> str:
    return name.rpartition("/")[0] or name


def _text(node: NodeDef, attribute: str, default: str) -> str:
    return node.attr[attribute].s.decode() if attribute in node.attr else default
