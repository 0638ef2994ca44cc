"""A prepared graph with its FixNeurons: as nodes, as the vendor's file, and with plain ops instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.fix_neurons import EVALUATE, FIX_NEURON
from dnndk_prep.graph.run import imported
from dnndk_prep.graph.topology import node_of, reachable
from dnndk_prep.quant.matching import execution_order, renamed
from dnndk_prep.quant.network import Node, attribute, by_name, node, to_graph_def
from dnndk_prep.quant.vai_q_tf1.places import Fix
from dnndk_prep.quant.vai_q_tf1.prepare import Prepared

# What vai_q_tensorflow writes there by default; nothing reads it once the positions stand.
OUTPUT_DIR = "./quantize_results"


def with_fix_neurons(prepared: Prepared, fixes: Mapping[str, Fix]) -> list[Node]:
    """The whole graph, each FixNeuron behind its node, in the order in which the quantizer writes it.

    Inner nodes that are inputs are computed again from what they read.
    """
    inserted: list[Node] = []
    names: dict[str, str] = {}
    for item in prepared.nodes:
        inserted.append(prepared.inner.get(item.name, item))
        if (fix := fixes.get(item.name)) is not None:
            inserted.append(_fix_neuron(fix))
            names[item.name] = fix.name
    return execution_order(renamed([*inserted, *prepared.upstream], names, frozenset(names.values())))


def ends_of(nodes: Sequence[Node], outputs: Sequence[str]) -> list[str]:
    """The node that gives each output: the FixNeuron behind it, where there is one."""
    named = by_name(nodes)
    ends = []
    for name in outputs:
        behind = [fix for fix in (f"{name}/wquant", f"{name}/aquant") if fix in named]
        ends.append(behind[0] if behind else name)
    return ends


def computed(nodes: Sequence[Node], outputs: Sequence[str]) -> set[str]:
    """The nodes that are computed for the outputs; a FixNeuron that is not never learns a position."""
    return reachable(by_name(nodes), ends_of(nodes, outputs))


def positioned(nodes: Sequence[Node], positions: Mapping[str, int]) -> list[Node]:
    """The nodes with a position in each FixNeuron."""
    return [
        replace(item, attrs={**item.attrs, "quantize_pos": attribute(positions[item.name])})
        if item.op == FIX_NEURON
        else item
        for item in nodes
    ]


def eval_graph(nodes: Sequence[Node]) -> GraphDef:
    """The graph as vai_q_tensorflow writes it, with the shapes of all tensors as attribute _output_shapes."""
    graph_def = to_graph_def(nodes)
    shapes = _shapes(nodes)
    for item in graph_def.node:
        if item.name in shapes:
            item.attr["_output_shapes"].list.shape.extend(shape.as_proto() for shape in shapes[item.name])
    return graph_def


def readers(nodes: Sequence[Node], name: str) -> list[str]:
    """The nodes that read `name`, in their order."""
    return [item.name for item in nodes if name in map(node_of, item.inputs)]


def pruned(nodes: Sequence[Node], ends: Collection[str]) -> list[Node]:
    """The nodes that `ends` need."""
    needed = reachable(by_name(nodes), ends)
    return [item for item in nodes if item.name in needed]


def _fix_neuron(fix: Fix) -> Node:
    settings = {"bit_width": fix.bits, "method": int(fix.method), "mode": int(fix.mode), "phase": EVALUATE}
    return node(fix.name, FIX_NEURON, fix.node, output_dir=OUTPUT_DIR, **settings)


def _shapes(nodes: Sequence[Node]) -> dict[str, list[tf.TensorShape]]:
    """The static shapes; a FixNeuron changes none."""
    plain = [
        replace(item, op="Identity", attrs={"T": item.attrs["T"]}) if item.op == FIX_NEURON else item for item in nodes
    ]
    operations = imported(to_graph_def(plain)).get_operations()
    return {op.name: [tensor.shape for tensor in op.outputs] for op in operations}
