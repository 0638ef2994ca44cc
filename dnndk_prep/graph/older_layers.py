"""Older forms of convolutions and of Einsum: what no TensorFlow 1 computes on a CPU, and no quantizer knows."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import INT32, Tools
from dnndk_prep.graph.topology import node_of


def padded(tools: Tools, node: NodeDef) -> list[NodeDef] | None:
    """A Pad before the convolution, which then is VALID."""
    if node.attr["padding"].s != b"EXPLICIT":
        return None
    sides = np.array(node.attr["explicit_paddings"].list.i).reshape(-1, 2)
    amounts = tools.const(f"{node.name}/paddings", sides)
    pad = tools.node("Pad", f"{node.name}/pad", [node.input[0], amounts.name], node, Tpaddings=INT32)
    return [amounts, pad, _unpadded(node, pad.name)]


def max_pool(tools: Tools, node: NodeDef) -> list[NodeDef] | None:
    """A PadV2 of the smallest number before the pool: what is padded is never the largest."""
    if node.attr["padding"].s != b"EXPLICIT" or node.attr["T"].type != tf.float32.as_datatype_enum:
        return None
    sides = np.array(node.attr["explicit_paddings"].list.i).reshape(-1, 2)
    amounts = tools.const(f"{node.name}/paddings", sides)
    least = tools.const(f"{node.name}/least", np.finfo(np.float32).min, np.float32)
    inputs = [node.input[0], amounts.name, least.name]
    pad = tools.node("PadV2", f"{node.name}/pad", inputs, node, Tpaddings=INT32)
    return [amounts, least, pad, _unpadded(node, pad.name)]


def _unpadded(node: NodeDef, source: str) -> NodeDef:
    new = NodeDef()
    new.CopyFrom(node)
    new.input[0] = source
    new.attr["padding"].s = b"VALID"
    del new.attr["explicit_paddings"]
    return new


def groups(tools: Tools, node: NodeDef) -> int:
    """Into how many groups a Conv2D parts its channels; 1 where shapes are not known."""
    image, kernel = tools.sizes(node.input[0]), tools.sizes(node.input[1])
    if image is None or kernel is None or len(image) != 4 or len(kernel) != 4:
        return 1
    if "data_format" in node.attr and node.attr["data_format"].s != b"NHWC":
        return 1
    channels, each = image[3], kernel[2]
    return channels // each if channels and each else 1


def convolution(tools: Tools, node: NodeDef) -> list[NodeDef] | None:
    """EXPLICIT paddings become a Pad; a grouped convolution becomes Split, a Conv2D for each group, and ConcatV2.

    With one channel a group it is a depthwise convolution: the same numbers in the same order.
    """
    count = groups(tools, node)
    first = padded(tools, node) or [node]
    if count == 1:
        return first if len(first) > 1 else None
    conv = first.pop()
    kernel = tools.sizes(node.input[1]) or []
    steps = list(node.attr["strides"].list.i)
    rates = list(node.attr["dilations"].list.i)
    if kernel[2] == 1 and steps[1] == steps[2] and set(rates) <= {1}:
        return first + _depthwise(tools, conv, count, kernel)
    return first + _split(tools, conv, count)


def _depthwise(tools: Tools, conv: NodeDef, channels: int, kernel: list[int | None]) -> list[NodeDef]:
    shape = [kernel[0] or 0, kernel[1] or 0, channels, (kernel[3] or channels) // channels]
    value = _own_constant(tools, conv.input[1])
    if value is not None:
        made = [tools.const(f"{conv.name}/kernel", value.reshape(shape), value.dtype.type)]
    else:
        to = tools.const(f"{conv.name}/kernel_shape", shape)
        made = [to, tools.reshape(f"{conv.name}/kernel", conv.input[1], to.name, conv)]
    new = tools.node("DepthwiseConv2dNative", conv.name, [conv.input[0], made[-1].name], conv)
    for name in ("strides", "padding", "data_format"):
        if name in conv.attr:
            new.attr[name].CopyFrom(conv.attr[name])
    return [*made, new]


def _own_constant(tools: Tools, reference: str) -> np.ndarray | None:
    """The value of a Const that is read directly, as in an optimized graph, whose constants nobody folds again."""
    node = tools.nodes.get(node_of(reference))
    return tools.value(reference) if node is not None and node.op == "Const" else None


def _split(tools: Tools, conv: NodeDef, count: int) -> list[NodeDef]:
    result, parts = [], []
    value = _own_constant(tools, conv.input[1])
    for name, source in (("inputs", conv.input[0]), ("kernels", conv.input[1])):
        if name == "kernels" and value is not None:
            each = np.split(value, count, axis=3)
            kernels = [tools.const(f"{conv.name}/kernel{i}", part, value.dtype.type) for i, part in enumerate(each)]
            parts.append([kernel.name for kernel in kernels])
            result += kernels
            continue
        # Channels of the image, and output channels of the kernel: both the last of four axes.
        axis = tools.const(f"{conv.name}/{name}/axis", 3)
        split = tools.node("Split", f"{conv.name}/{name}", [axis.name, source], conv)
        split.attr["num_split"].i = count
        parts.append([split.name, *(f"{split.name}:{i}" for i in range(1, count))])
        result += [axis, split]
    convs = []
    for i, inputs in enumerate(zip(*parts, strict=True)):
        one = NodeDef()
        one.CopyFrom(conv)
        one.name = tools.free(f"{conv.name}/group{i}")
        one.input[:] = inputs
        convs.append(one)
    axis = tools.const(f"{conv.name}/axis", 3)
    joined = tools.node("ConcatV2", conv.name, [*(one.name for one in convs), axis.name], conv, Tidx=INT32)
    joined.attr["N"].i = count
    return [*result, *convs, axis, joined]


def einsum(tools: Tools, node: NodeDef) -> list[NodeDef] | None:
    """Transpose, Reshape, MatMul or BatchMatMul, Reshape, Transpose, for two tensors whose letters all go somewhere.

    None for a trace, a sum over a letter of one tensor alone, `...`, or more than one free size in a Reshape.
    """
    equation = node.attr["equation"].s.decode().replace(" ", "")
    inputs, _, output = equation.partition("->")
    terms = inputs.split(",")
    sizes = [tools.sizes(name) for name in node.input]
    if len(terms) != 2 or "." in equation or "->" not in equation or None in sizes:
        return None
    a, b = terms
    if any(len(set(term)) != len(term) for term in (a, b, output)) or set(a) | set(b) < set(output):
        return None
    batch = [x for x in output if x in a and x in b]
    summed = [x for x in a if x in b and x not in output]
    left, right = ([x for x in term if x not in batch and x not in summed] for term in (a, b))
    if set(left + right) - set(output):
        return None
    size: dict[str, int | None] = {}
    for term, known in zip(terms, sizes, strict=True):
        for letter, number in zip(term, known or [], strict=True):
            size[letter] = size.get(letter) or number
    return _products(tools, node, (a, b, output), (batch, left, right, summed), size)


def _products(
    tools: Tools,
    node: NodeDef,
    terms: tuple[str, str, str],
    letters: tuple[list[str], list[str], list[str], list[str]],
    size: dict[str, int | None],
) -> list[NodeDef] | None:
    a, b, output = terms
    batch, left, right, summed = letters
    result: list[NodeDef] = []
    factors = []
    for side, term, rows, columns in ((0, a, left, summed), (1, b, summed, right)):
        made = _arranged(tools, node, node.input[side], term, batch, rows, columns, size, "ab"[side])
        if made is None:
            return None
        result += made
        factors.append(made[-1].name if made else node.input[side])
    product = tools.node("BatchMatMul" if batch else "MatMul", f"{node.name}/product", factors, node)
    order = [*batch, *left, *right]
    result.append(product)
    if len(left) != 1 or len(right) != 1:
        shape = _free_once([size[x] for x in order])
        if shape is None:
            return None
        to = tools.const(f"{node.name}/shape", shape)
        result += [to, tools.reshape(f"{node.name}/unfolded", product.name, to.name, node)]
    if order != list(output):
        result += _transpose(tools, node, result[-1].name, [order.index(x) for x in output], f"{node.name}/turned")
    result[-1].name = node.name
    return result


def _arranged(
    tools: Tools,
    node: NodeDef,
    tensor: str,
    term: str,
    batch: list[str],
    rows: list[str],
    columns: list[str],
    size: dict[str, int | None],
    name: str,
) -> list[NodeDef] | None:
    """The tensor as matrices: [batch..., rows, columns]; nothing where it is that already."""
    result: list[NodeDef] = []
    order = [*batch, *rows, *columns]
    if order != list(term):
        result += _transpose(tools, node, tensor, [term.index(x) for x in order], f"{node.name}/{name}_turned")
        tensor = result[-1].name
    if len(rows) != 1 or len(columns) != 1:
        folded = [*(size[x] for x in batch), _product(size, rows), _product(size, columns)]
        shape = _free_once(folded)
        if shape is None:
            return None
        to = tools.const(f"{node.name}/{name}_shape", shape)
        result += [to, tools.reshape(f"{node.name}/{name}_folded", tensor, to.name, node)]
    return result


def _product(size: dict[str, int | None], letters: list[str]) -> int | None:
    numbers = [size[x] for x in letters]
    return None if None in numbers else math.prod(n for n in numbers if n is not None)


def _free_once(sizes: list[int | None]) -> list[int] | None:
    """A shape for Reshape, with -1 for the one free size; None where more are free."""
    return [-1 if size is None else size for size in sizes] if sizes.count(None) <= 1 else None


def _transpose(tools: Tools, node: NodeDef, tensor: str, order: list[int], name: str) -> list[NodeDef]:
    by = tools.const(f"{name}/perm", order)
    return [by, tools.node("Transpose", name, [tensor, by.name], node, Tperm=INT32)]
