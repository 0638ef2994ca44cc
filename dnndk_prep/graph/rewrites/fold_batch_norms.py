"""Folds batch norms, and whatever else scales and shifts channels by constants, into the layer before them.

Given:  Conv2D -> [BiasAdd] -> FusedBatchNormV3                      (fused)
        Conv2D -> [BiasAdd] -> Mul(const) -> AddV2/Sub(const)        (decomposed, after constant folding)
Result: Conv2D (scaled kernel) -> BiasAdd

The same for DepthwiseConv2dNative, MatMul, Conv3D and Conv2DBackpropInput, and for a bias that is added by Add, AddV2
or Sub. All channels of a kernel are scaled at once in float64: TensorFlow's own fold walks over the weights in a
Python loop and takes minutes. What no layer before it can take goes into the layer behind it (fold_forward).
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.channels import CHANNELS_LAST, KERNEL, LAYERS, Affine, Layer, View
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.rewrites.fold_forward import fold_forward
from dnndk_prep.graph.rewrites.left_batch_norms import left_batch_norms
from dnndk_prep.graph.topology import node_of
from dnndk_prep.graph.weights import constant


@dataclass
class Chain:
    """Nodes that follow a layer one by one, what they do to its channels, and the tensor that the first reads."""

    layer: Layer
    source: str
    rank: int
    affine: Affine
    nodes: list[NodeDef] = field(default_factory=list)


def fold_batch_norms(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with each chain folded; the notes name every batch norm that stays, and why."""
    folder = _Folder(graph_def, keep)
    for node in list(folder.graph_def.node):
        layer = folder.view.layer(node)
        if layer is not None:
            folder.fold(layer)
    result = fold_forward(folder.result(), keep)
    return Rewritten(result, tuple(left_batch_norms(result, keep)))


class _Folder:
    def __init__(self, graph_def: GraphDef, keep: frozenset[str]) -> None:
        self.graph_def, self.keep = GraphDef(), keep
        self.graph_def.CopyFrom(graph_def)
        self.view = View(self.graph_def)
        self.gone: set[str] = set()
        self.named: set[str] = set()
        self.renamed: dict[str, str] = {}
        self.made: dict[str, list[NodeDef]] = {}

    def fold(self, layer: Layer) -> None:
        chain = self._chain(layer)
        if not chain.nodes or (len(chain.nodes) == 1 and chain.nodes[0].op == "BiasAdd"):
            return
        self._scale_kernel(layer, chain.affine.scale)
        self._add_bias(chain)

    def result(self) -> GraphDef:
        result = GraphDef(versions=self.graph_def.versions, library=self.graph_def.library)
        for node in self.graph_def.node:
            result.node.extend(self.made.get(node.name, ()))
            if node.name not in self.gone:
                result.node.append(node)
        for node in result.node:
            for i, name in enumerate(node.input):
                if (new := self.renamed.get(node_of(name))) is not None:
                    # In a graph with loops, nodes may wait for a batch norm, too.
                    node.input[i] = f"^{new}" if name.startswith("^") else new
        return result

    def _chain(self, layer: Layer) -> Chain:
        channels = layer.channels
        chain = Chain(layer, layer.node.name, LAYERS[layer.node.op], Affine(np.ones(channels), np.zeros(channels)))
        place = layer.node
        while (following := self._only_reader(place)) is not None:
            if not chain.nodes and _moves(self.view, following, chain):
                place = following
                chain.source = following.name
                continue
            step = self.view.step(following, place.name, layer, chain.rank)
            if step is None:
                break
            chain.affine, place = chain.affine.then(step), following
            chain.nodes.append(following)
        return chain

    def _only_reader(self, node: NodeDef) -> NodeDef | None:
        readers = self.view.readers.get(node.name, [])
        # An output is read by whoever runs the graph: its value must not change.
        if len(readers) != 1 or node.name in self.keep:
            return None
        return self.view.nodes[readers[0]]

    def _scale_kernel(self, layer: Layer, scale: np.ndarray) -> None:
        conv, readers = layer.node, self.view.readers
        kernel = self.view.nodes[node_of(conv.input[KERNEL])]
        if readers[kernel.name] == [conv.name] and kernel.name not in self.keep:
            kernel.CopyFrom(constant(kernel.name, layer.scaled(scale)))
            return
        # Another layer reads the same kernel: it keeps the unscaled one.
        copy = constant(self._free(f"{_scope(conv.name)}/kernel"), layer.scaled(scale))
        readers[kernel.name].remove(conv.name)
        readers[copy.name] = [conv.name]
        self.view.nodes[copy.name] = copy
        self.made.setdefault(conv.name, []).append(copy)
        conv.input[KERNEL] = copy.name

    def _add_bias(self, chain: Chain) -> None:
        """One BiasAdd in the place of the chain; it keeps an output's name, else it is called after the layer."""
        conv, last = chain.layer.node, chain.nodes[-1]
        self.gone.update(node.name for node in chain.nodes)
        name = (
            last.name if last.name in self.keep else self._free(f"{_scope(conv.name)}/BiasAdd", self.gone - self.named)
        )
        self.named.add(name)
        bias = constant(self._free(f"{_scope(conv.name)}/bias"), chain.affine.offset.astype(chain.layer.kernel.dtype))
        add = NodeDef(name=name, op="BiasAdd", input=[chain.source, bias.name], device=conv.device)
        add.attr["T"].CopyFrom(conv.attr["T"])
        add.attr["data_format"].s = b"NHWC" if chain.layer.data_format in CHANNELS_LAST else b"NCHW"
        self.made.setdefault(last.name, []).extend([bias, add])
        self.view.nodes[bias.name], self.view.nodes[name] = bias, add
        self.view.readers[name] = self.view.readers.get(last.name, [])
        if name != last.name:
            self.renamed[last.name] = name

    def _free(self, name: str, given_up: Set[str] = frozenset()) -> str:
        """`name`, or with a number behind it where a node has it that did not give it up."""
        candidate, number = name, 0
        while candidate in self.view.nodes and candidate not in given_up:
            number += 1
            candidate = f"{name}_{number}"
        return candidate


def _moves(view: View, node: NodeDef, chain: Chain) -> bool:
    """Whether `node` moves values about and leaves channels alone; a lost axis is taken off the chain's rank.

    A dilated convolution stands before a BatchToSpaceND, Conv1D is a Conv2D before a Squeeze, and Dense on images a
    MatMul before a Reshape.
    """
    if node.input[0] != chain.source or chain.layer.data_format not in CHANNELS_LAST:
        return False
    if node.op == "Squeeze":
        axes = {axis % chain.rank for axis in node.attr["squeeze_dims"].list.i}
        if not axes or chain.rank - 1 in axes:
            return False
        chain.rank -= len(axes)
        return True
    if node.op == "Reshape":
        shape = view.constant(node.input[1])
        if shape is None or shape.ndim != 1 or not shape.size or shape[-1] != chain.layer.channels:
            return False
        chain.rank = shape.size
        return True
    return node.op == "BatchToSpaceND"


def _scope(name: str) -> str:
    return name.rpartition("/")[0] or name
