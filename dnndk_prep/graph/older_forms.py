"""Older forms of nodes that an old TensorFlow does not know, exactly equal in value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph import older_layers, older_resize
from dnndk_prep.graph.form_tools import INT32, Tools
from dnndk_prep.graph.topology import flag, node_of

FLOAT32, BOOL = tf.float32.as_datatype_enum, tf.bool.as_datatype_enum


class Forms:
    """The older forms for the nodes of one graph. `keep` are names that must stay the name of the result."""

    def __init__(self, graph_def: GraphDef, keep: frozenset[str]) -> None:
        self.tools = Tools(graph_def, keep)

    def kernel_problem(self, node: NodeDef, level: str) -> str | None:
        """What the registry allows and the release refuses when the graph is loaded or runs; None if nothing."""
        if node.name not in self.tools.nodes:
            return None
        check = PROBLEMS.get(node.op)
        return None if check is None else check(self.tools, node, level)

    def older(self, node: NodeDef) -> list[NodeDef] | None:
        """Nodes that compute the same, the last under the name of `node`; None if there is no such form."""
        form = FORMS.get(node.op)
        return None if form is None else form(self.tools, node)

    def in_frame(self, node: NodeDef, form: list[NodeDef]) -> list[NodeDef]:
        """The form, its constants bound to the turn of the loop that `node` is in: others would be of another frame."""
        if node.name in self.tools.looping:
            for new in form:
                if new.op == "Const" and not new.input:
                    new.input.append(f"^{node_of(node.input[0])}")
        return form


def _batch_norm(tools: Tools, node: NodeDef) -> list[NodeDef] | None:
    """FusedBatchNorm: the same first result in float32; the others are for training alone.

    After a 3-D convolution, of which the older op knows nothing, a Mul and an Add.
    """
    data_format = node.attr["data_format"].s if "data_format" in node.attr else b"NHWC"
    if (
        flag(node, "is_training", default=True)
        or node.attr["T"].type != FLOAT32
        or node.attr["U"].type != FLOAT32
        or tools.side_outputs(node)
    ):
        return None
    if data_format not in (b"NHWC", b"NCHW"):
        return _decomposed(tools, node) if data_format == b"NDHWC" else None
    new = NodeDef(name=node.name, op="FusedBatchNorm", input=node.input, device=node.device)
    for name in ("T", "epsilon", "data_format", "is_training"):
        if name in node.attr:
            new.attr[name].CopyFrom(node.attr[name])
    return [new]


def _decomposed(tools: Tools, node: NodeDef) -> list[NodeDef]:
    """x * scale + (beta - mean * scale), with scale = gamma / sqrt(variance + epsilon), along the last axis."""
    x, gamma, beta, mean, variance = node.input[:5]
    epsilon = tools.const(f"{node.name}/epsilon", node.attr["epsilon"].f, np.float32)
    steps = [epsilon]

    def step(op: str, name: str, *inputs: str) -> str:
        steps.append(tools.node(op, f"{node.name}/{name}" if name else node.name, list(inputs), node))
        return steps[-1].name

    root = step("Rsqrt", "rsqrt", step("Add", "variance_epsilon", variance, epsilon.name))
    scale = step("Mul", "scale", gamma, root)
    offset = step("Sub", "offset", beta, step("Mul", "mean_scale", mean, scale))
    step("Add", "", step("Mul", "scaled", x, scale), offset)
    return steps


def _leaky_relu(tools: Tools, node: NodeDef) -> list[NodeDef] | None:
    """Maximum(alpha * x, x), as TensorFlow itself wrote it before it had the op: equal while alpha is at most 1."""
    alpha = node.attr["alpha"].f if "alpha" in node.attr else 0.2
    if alpha > 1 or node.attr["T"].type != FLOAT32:
        return None
    slope = tools.const(f"{node.name}/alpha", alpha, np.float32)
    scaled = tools.node("Mul", f"{node.name}/mul", [slope.name, node.input[0]], node)
    return [slope, scaled, tools.node("Maximum", node.name, [scaled.name, node.input[0]], node)]


def _add(tools: Tools, node: NodeDef) -> list[NodeDef]:
    return [tools.node("Add", node.name, list(node.input), node)]


def _batch_matmul(tools: Tools, node: NodeDef) -> list[NodeDef] | None:
    """BatchMatMul, which does not broadcast: equal where both have the same leading sizes."""
    x, y = (tools.shape(name) for name in node.input)
    if x.rank is None or x.rank != y.rank or not x[:-2].is_compatible_with(y[:-2]):
        return None
    new = tools.node("BatchMatMul", node.name, list(node.input), node)
    for name in ("adj_x", "adj_y"):
        new.attr[name].b = flag(node, name)
    return [new]


def _softmax(tools: Tools, node: NodeDef) -> list[NodeDef] | None:
    """Softmax over the rows of a matrix, and back to the shape there was."""
    sizes = tools.sizes(node.input[0])
    if sizes is None or sizes[-1] is None:
        return None
    if sizes.count(None) <= 1:
        shape = tools.const(f"{node.name}/shape", [-1 if size is None else size for size in sizes])
    else:
        shape = tools.node("Shape", f"{node.name}/shape", [node.input[0]], node, out_type=INT32)
    rows = tools.const(f"{node.name}/rows_shape", [-1, sizes[-1]])
    matrix = tools.reshape(f"{node.name}/rows", node.input[0], rows.name, node)
    softmax = tools.node(node.op, f"{node.name}/of_rows", [matrix.name], node)
    return [shape, rows, matrix, softmax, tools.reshape(node.name, softmax.name, shape.name, node)]


def _select(tools: Tools, node: NodeDef) -> list[NodeDef] | None:
    """Select, which does not broadcast: equal where the three shapes are; else all are brought to one shape first.

    x < x is False everywhere, for NaN, too: with Or it gives the condition the shape of all three, and as zeros it is
    added to both values.
    """
    shapes = [tools.sizes(name) for name in node.input]
    if shapes[0] is not None and shapes[0] and all(shape == shapes[0] for shape in shapes):
        return [tools.node("Select", node.name, list(node.input), node)]
    if node.attr["T"].type != FLOAT32:
        return None
    condition, values = node.input[0], list(node.input[1:])
    result: list[NodeDef] = []
    for side, value in zip("ab", values, strict=True):
        never = tools.node("Less", f"{node.name}/never_{side}", [value, value], node)
        either = tools.node("LogicalOr", f"{node.name}/where_{side}", [condition, never.name], node)
        del either.attr["T"]
        result += [never, either]
        condition = either.name
    none = tools.node("LogicalNot", f"{node.name}/not", [condition], node)
    both = tools.node("LogicalAnd", f"{node.name}/nowhere", [condition, none.name], node)
    for made in (none, both):
        del made.attr["T"]
    zeros = tools.node("Cast", f"{node.name}/zeros", [both.name], node, SrcT=BOOL, DstT=FLOAT32)
    del zeros.attr["T"]
    whole = [tools.node("Add", f"{node.name}/{s}", [v, zeros.name], node) for s, v in zip("ab", values, strict=True)]
    last = tools.node("Select", node.name, [condition, *(each.name for each in whole)], node)
    return [*result, none, both, zeros, *whole, last]


def _split_sizes(tools: Tools, node: NodeDef) -> list[NodeDef] | None:
    """The size that is left to TensorFlow (-1), as a number."""
    sizes, axis, whole = tools.value(node.input[1]), tools.value(node.input[2]), tools.sizes(node.input[0])
    if sizes is None or axis is None or whole is None or (total := whole[int(axis)]) is None:
        return None
    known = np.where(sizes < 0, total - sizes[sizes >= 0].sum(), sizes)
    written = tools.const(f"{node.name}/sizes", known, sizes.dtype.type)
    new = NodeDef()
    new.CopyFrom(node)
    new.input[1] = written.name
    return [written, new]


def _softmax_problem(tools: Tools, node: NodeDef, level: str) -> str | None:
    sizes = tools.sizes(node.input[0])
    if level != "1.9" or sizes is None or len(sizes) == 2:
        return None
    return f"{node.op} of rank {len(sizes)}; its kernel takes matrices alone"


def _split_problem(tools: Tools, node: NodeDef, level: str) -> str | None:
    sizes = tools.value(node.input[1])
    open_size = level == "1.9" and sizes is not None and (sizes < 0).any()
    return "a size of -1 in SplitV, which it takes for a part that is missing" if open_size else None


def _group_problem(tools: Tools, node: NodeDef, level: str) -> str | None:
    count = older_layers.groups(tools, node)
    return f"a convolution in {count} groups, which its CPU kernel does not compute" if count > 1 else None


def _einsum_problem(tools: Tools, node: NodeDef, level: str) -> str | None:
    # 1.15 has it, but none of the quantizers.
    return "Einsum, which the quantizers do not know" if older_layers.einsum(Tools(tools.graph_def), node) else None


FORMS: dict[str, Callable[[Tools, NodeDef], list[NodeDef] | None]] = {
    "FusedBatchNormV3": _batch_norm,
    "FusedBatchNormV2": _batch_norm,
    "LeakyRelu": _leaky_relu,
    "AddV2": _add,
    "BatchMatMulV2": _batch_matmul,
    "Conv2D": older_layers.convolution,
    "DepthwiseConv2dNative": older_layers.padded,
    "MaxPool": older_layers.max_pool,
    "ResizeNearestNeighbor": older_resize.resize_nearest,
    "ResizeBilinear": older_resize.resize_bilinear,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "SelectV2": _select,
    "SplitV": _split_sizes,
    "Einsum": older_layers.einsum,
}

PROBLEMS: dict[str, Callable[[Tools, NodeDef, str], str | None]] = {
    "Softmax": _softmax_problem,
    "LogSoftmax": _softmax_problem,
    "SplitV": _split_problem,
    "Conv2D": _group_problem,
    "Einsum": _einsum_problem,
}
