"""Writes the repeating of rows and columns as the resize that the DPU knows.

Given:  x [n, 4, 4, 8] -> ExpandDims -> Tile -> Reshape (rows) -> ExpandDims -> Tile -> Reshape (columns)
Result: ResizeNearestNeighbor(x, [8, 8])

So Keras 3 computes UpSampling2D with "nearest".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import node_of

ROWS, COLUMNS = 1, 2
# The scope of a repeat in a layer's.
REPEAT = re.compile(r"/Repeat(_\d+)?$")


@dataclass(frozen=True)
class _Repeat:
    """The tensor that is repeated, along which axis, and how many times."""

    data: str
    axis: int
    times: int


def repeats_to_resize(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with ResizeNearestNeighbor for repeats of rows, columns or both, where the image's size is known."""
    if not any(node.op == "Tile" for node in graph_def.node):
        return Rewritten(graph_def)
    tools = Tools(graph_def, keep)
    found = {node.name: one for node in graph_def.node if (one := _repeat(tools, node)) is not None}
    inner = {node_of(one.data) for one in found.values()} & found.keys() - keep
    made: dict[str, list[NodeDef]] = {}
    for name, last in found.items():
        first = found.get(node_of(last.data))
        if name in inner and _is_read_by_repeats_alone(tools, name, found):
            continue
        chain = [last] if first is None or first.axis == last.axis or node_of(last.data) in keep else [first, last]
        made[name] = _resized(tools, tools.nodes[name], chain, keep)
    if not made:
        return Rewritten(graph_def)
    renamed = {name: nodes[-1].name for name, nodes in made.items()}
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        for one in made.get(node.name, [node]):
            copy = result.node.add()
            copy.CopyFrom(one)
            for i, name in enumerate(copy.input):
                copy.input[i] = renamed.get(name, name)
    return Rewritten(result)


def _repeat(tools: Tools, node: NodeDef) -> _Repeat | None:
    """What `node`, the Reshape at the end, repeats; None where it is no repeat of rows or columns of known images."""
    tile = tools.nodes[node_of(node.input[0])] if node.op == "Reshape" else node
    wider = tools.nodes[node_of(tile.input[0])] if tile.op == "Tile" else tile
    if node.op != "Reshape" or wider.op != "ExpandDims":
        return None
    before, place = tools.sizes(wider.input[0]), tools.value(wider.input[1])
    tiled, after = tools.sizes(tile.name), tools.sizes(node.name)
    if before is None or tiled is None or after is None or place is None or None in before[1:] or len(before) != 4:
        return None
    # A new axis behind the one that is repeated, tiled, and merged with it.
    axis = int(place.reshape(())) % len(tiled) - 1
    times = tiled[axis + 1]
    if axis not in (ROWS, COLUMNS) or times is None:
        return None
    wanted = [size * times if i == axis and size else size for i, size in enumerate(before)]
    is_plain = tiled == [*before[: axis + 1], times, *before[axis + 1 :]] and after == wanted
    return _Repeat(wider.input[0], axis, times) if is_plain else None


def _is_read_by_repeats_alone(tools: Tools, name: str, found: dict[str, _Repeat]) -> bool:
    """Whether every reader of a repeat is a repeat along the other axis, so that one resize is both."""
    others = {node_of(one.data) for one in found.values() if one.axis != found[name].axis}
    readers = [node for node in tools.graph_def.node if name in map(node_of, node.input)]
    # The Shape from which the next repeat computes its own.
    return name in others and all(node.op in ("ExpandDims", "Shape") for node in readers)


def _resized(tools: Tools, node: NodeDef, chain: list[_Repeat], keep: frozenset[str]) -> list[NodeDef]:
    data = chain[0].data
    sizes = tools.sizes(data) or []
    times = {one.axis: one.times for one in chain}
    scope = REPEAT.sub("", node.name.rpartition("/")[0])
    is_free = node.name not in keep and scope
    name = tools.free(f"{scope}/resize/ResizeNearestNeighbor") if is_free else node.name
    wanted = [(sizes[axis] or 0) * times.get(axis, 1) for axis in (ROWS, COLUMNS)]
    size = tools.const(f"{name}/size", wanted, np.int32)
    resize = tools.node("ResizeNearestNeighbor", node.name, [data, size.name], node)
    resize.name = name
    resize.attr["align_corners"].b = False
    resize.attr["half_pixel_centers"].b = True
    return [size, resize]
