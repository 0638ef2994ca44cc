"""Gives transposed convolutions the size of their result in the form that the quantizers look for.

Given:  Conv2DBackpropInput, its sizes Pack(StridedSlice(Shape), Const, Const, Const)      of a free batch
Result: Conv2DBackpropInput, its sizes Pack(slice 0, slice 1 * Const, slice 2 * Const, Const), slices of Shape(x)

That is how Keras wrote it in TensorFlow 1.15. In any other form with a free batch, vai_q_tensorflow leaves the layer
in float and does not say so. A fixed batch makes the whole size a constant, which static_shapes writes.
"""

from __future__ import annotations

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import INT32, Tools
from dnndk_prep.graph.known_values import KnownValues
from dnndk_prep.graph.rewrites import Rewritten
from dnndk_prep.graph.topology import node_of


def transposed_sizes(graph_def: GraphDef, keep: frozenset[str]) -> Rewritten:
    """The graph with that form where height and width are known and grow by whole numbers; the others are named."""
    convs = [node for node in graph_def.node if node.op == "Conv2DBackpropInput"]
    if not convs:
        return Rewritten(graph_def)
    tools = Tools(graph_def, keep)
    known = KnownValues(tools)
    made: dict[str, list[NodeDef]] = {}
    notes = []
    for conv in convs:
        if tools.value(conv.input[0]) is not None or _has_the_form(tools, conv):
            continue
        sizes, before = known.of(conv.input[0]), tools.sizes(conv.input[2])
        factors = None if sizes is None or before is None else _factors(before, list(sizes))
        if factors is None or sizes is None:
            notes.append(
                f"{conv.name}: with a free batch the quantizers leave it in float, for its height and width do not "
                "grow by whole numbers: build it with padding='same', or begin with a graph of a fixed batch"
            )
        else:
            made[conv.name] = _sizes(tools, conv, factors, int(sizes[3]))
    if not made:
        return Rewritten(graph_def, tuple(notes))
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        result.node.extend(made.get(node.name, ()))
        copy = result.node.add()
        copy.CopyFrom(node)
        if node.name in made:
            copy.input[0] = made[node.name][-1].name
    return Rewritten(result, tuple(notes))


def _has_the_form(tools: Tools, conv: NodeDef) -> bool:
    pack = tools.nodes[node_of(conv.input[0])]
    ops = [tools.nodes[node_of(name)].op for name in pack.input]
    return pack.op == "Pack" and ops == ["StridedSlice", "Mul", "Mul", "Const"]


def _factors(before: list[int | None], after: list[int | None]) -> list[int] | None:
    pairs = list(zip(before[1:3], after[1:3], strict=True))
    if after[3] is None or not all(old and new and new % old == 0 for old, new in pairs):
        return None
    return [new // old for old, new in pairs if old and new]


def _sizes(tools: Tools, conv: NodeDef, factors: list[int], channels: int) -> list[NodeDef]:
    name, image = conv.name, conv.input[2]
    shape = tools.node("Shape", f"{name}/input_shape", [image], conv, out_type=INT32)
    result, parts = [shape], []
    step = tools.const(f"{name}/one", [1])
    result.append(step)
    for axis in range(3):
        bounds = [tools.const(f"{name}/size{axis}/{n}", [axis + i]) for i, n in enumerate(("begin", "end"))]
        inputs = [shape.name, *(bound.name for bound in bounds), step.name]
        part = tools.node("StridedSlice", f"{name}/size{axis}", inputs, conv, T=INT32, Index=INT32)
        part.attr["shrink_axis_mask"].i = 1
        result += [*bounds, part]
        if axis:
            factor = tools.const(f"{name}/factor{axis}", factors[axis - 1])
            part = tools.node("Mul", f"{name}/mul{axis}", [part.name, factor.name], conv, T=INT32)
            result += [factor, part]
        parts.append(part.name)
    last = tools.const(f"{name}/channels", channels)
    pack = tools.node("Pack", f"{name}/stack", [*parts, last.name], conv, T=INT32)
    pack.attr["N"].i = 4
    return [*result, last, pack]
