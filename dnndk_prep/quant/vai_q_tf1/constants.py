"""Before anything is looked for: constants computed, a layer's constants its own, nothing that hands values on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.python.framework import op_def_registry

from dnndk_prep.graph.readers import registry_of
from dnndk_prep.graph.rewrites.fold_constants import fold_constants
from dnndk_prep.graph.topology import in_order, node_of, reachable
from dnndk_prep.quant.matching import ANY, Match, Replacement, op, replace_all
from dnndk_prep.quant.network import (
    Node,
    by_name,
    const,
    from_graph_def,
    shapes_of,
    to_graph_def,
)

# TensorFlow's constant folding makes no larger constants (constant_folding.h, max_constant_size_in_bytes).
LARGEST = 10 * 2**20
# The layers whose second input is their own, and the bias.
LAYERS = ("Conv2D", "DepthwiseConv2d", "DepthwiseConv2dNative", "MatMul", "Conv3D", "BiasAdd")
# The TensorFlow inside the quantizer.
RELEASE = "1.15"


def folded(nodes: Sequence[Node], inputs: Sequence[str], outputs: Sequence[str]) -> list[Node]:
    """What `outputs` need, with constants for what needs no input: TensorFlow's transform fold_constants.

    A constant that it makes is called <node>/_N__cf__N, where N counts them in the order of their names. They come
    last, and the placeholders of `inputs` after them, as in its result. A PlaceholderWithDefault of `inputs` loses its
    default; with any other op among them the transform gives up, and nothing is computed.
    """
    ordered = as_imported(nodes)
    needed = reachable(by_name(ordered), [*inputs, *outputs])
    ordered = [_without_default(item) if item.name in inputs else item for item in ordered if item.name in needed]
    if any(item.op != "Placeholder" for item in ordered if item.name in inputs):
        return ordered
    kept = _known_sizes(ordered)
    graph_def = to_graph_def(kept)
    result = fold_constants(graph_def, frozenset([*inputs, *outputs]), largest=LARGEST).graph_def
    before = by_name(kept)
    made = sorted(
        item.name
        for item in result.node
        if item.op == "Const" and (item.name not in before or before[item.name].op != "Const")
    )
    names = {name: f"{name}/_{i}__cf__{i}" for i, name in enumerate(made) if name not in outputs}
    first: list[Node] = []
    last: list[Node] = []
    for item in from_graph_def(result):
        reading = item.reading(*(names.get(name.removesuffix(":0"), name) for name in item.inputs))
        if item.name in names:
            last.append(replace(reading, name=names[item.name]))
        else:
            first.append(reading)
    last.sort(key=lambda item: made.index(item.name.rpartition("/_")[0]))
    # The set that TensorFlow keeps them in hands out the last one first.
    placed = [item for name in reversed(inputs) for item in first if item.name == name]
    whole = [*(item for item in first if item.name not in inputs), *last, *placed]
    used = reachable(by_name(whole), [*inputs, *outputs])
    return as_imported([item for item in whole if item.name in used])


def as_imported(nodes: Sequence[Node]) -> list[Node]:
    """What an import and an export make of the nodes: each after those it reads, with attributes that had defaults."""
    return [replace(item, attrs={**_defaults(item.op), **item.attrs}) for item in in_order(nodes)]


@cache
def _defaults(op: str) -> Mapping[str, AttrValue]:
    """The attributes of an op that may be left out, of those that the quantizer's TensorFlow knows."""
    definition, known = op_def_registry.get(op), registry_of(RELEASE).get(op)
    if definition is None or known is None:
        return {}
    return {
        item.name: item.default_value
        for item in definition.attr
        if item.HasField("default_value") and item.name in known["attrs"]
    }


def _without_default(item: Node) -> Node:
    return replace(item, op="Placeholder", inputs=()) if item.op == "PlaceholderWithDefault" else item


def without_identities(nodes: Sequence[Node], ends: Collection[str]) -> list[Node]:
    """The nodes without Identity and IdentityN but for `ends`, and without control inputs."""

    def make(match: Match, read: frozenset[str]) -> Replacement | None:
        if match.node.name in ends:
            return None
        return Replacement([match.inputs[0].node], {match.node.name: match.node.inputs[0]})

    plain = [item.reading(*(name for name in item.inputs if not name.startswith("^"))) for item in nodes]
    plain = replace_all(plain, op("Identity", ANY), make, may_drop=True, repeat=True)
    named = by_name(plain)

    def source(name: str) -> str:
        # Whichever of its outputs is read, the quantizer takes the first input.
        while named[node_of(name)].op == "IdentityN":
            name = named[node_of(name)].inputs[0]
        return name

    return [item.reading(*map(source, item.inputs)) for item in plain if item.op != "IdentityN"]


def with_own_constants(nodes: Sequence[Node]) -> list[Node]:
    """Each layer with weights and bias of its own, the copies numbered; these stand right before the layer."""
    named = by_name(nodes)
    count = {item.inputs[1]: 0 for item in nodes if item.op in LAYERS and item.inputs[1] in named}
    result: list[Node] = []
    for item in nodes:
        if item.op in LAYERS and item.inputs[1] in count:
            weights = item.inputs[1]
            own = f"{weights}{count[weights]}" if count[weights] else weights
            count[weights] += 1
            result.append(replace(named[weights], name=own))
            item = item.reading(item.inputs[0], own, *item.inputs[2:])
        if item.name not in count:
            result.append(item)
    return result


def _known_sizes(nodes: Sequence[Node]) -> list[Node]:
    """Constants for Shape, Size and Rank of what has a known shape."""
    sizes = [item for item in nodes if item.op in ("Shape", "Size", "Rank")]
    if not sizes:
        return list(nodes)
    tools = shapes_of(nodes, {})
    known = {item.name: value for item in sizes if (value := _size(item, tools.sizes(item.inputs[0]))) is not None}
    return _with_values(nodes, known)


def _size(item: Node, shape: list[int | None] | None) -> np.ndarray | None:
    if shape is None or None in shape:
        return None
    dtype = np.int64 if (kind := item.attrs.get("out_type")) is not None and kind.type == 9 else np.int32
    values = {"Shape": shape, "Size": int(np.prod(np.array(shape, np.int64))), "Rank": len(shape)}
    return np.array(values[item.op], dtype)


def _with_values(nodes: Sequence[Node], known: Mapping[str, np.ndarray]) -> list[Node]:
    return [const(item.name, known[item.name]) if item.name in known else item for item in nodes]
