"""What is known of whole numbers that a graph computes from shapes, before it runs: sizes, some of which are free."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.form_tools import Tools
from dnndk_prep.graph.topology import flag, node_of

# Numbers of objects: an int where it is known, else None.
Numbers = np.ndarray
WHOLE = (tf.int32.as_datatype_enum, tf.int64.as_datatype_enum)
# The attribute with the type of what an op gives, where it is not T.
TYPES = {"Const": "dtype", "Shape": "out_type", "Cast": "DstT", "GatherV2": "Tparams", "Gather": "Tparams"}


class KnownValues:
    """Partial values of integer tensors of one graph.

    TensorFlow's own inference follows Shape, Pack and ConcatV2, but neither GatherV2 nor Prod, with which Dense on
    images computes its shapes.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._found: dict[str, Numbers | None] = {}

    def of(self, reference: str) -> Numbers | None:
        """The numbers of a tensor of rank 0 or 1, None for those that are free; None where nothing is known."""
        if reference not in self._found:
            # A loop leads back to itself: nothing is known of what goes round.
            self._found[reference] = None
            node = self._tools.nodes[node_of(reference)]
            rule = RULES.get(node.op)
            if rule is not None and dtype_of(node) in WHOLE and reference.partition(":")[2] in ("", "0"):
                self._found[reference] = rule(self, node)
        return self._found[reference]

    def inputs(self, node: NodeDef) -> list[Numbers] | None:
        """What is known of all data inputs; None where one is not known at all."""
        values = [self.of(name) for name in node.input if not name.startswith("^")]
        return None if any(value is None for value in values) else [value for value in values if value is not None]

    def const(self, node: NodeDef) -> Numbers | None:
        """A constant of whole numbers, of rank 0 or 1."""
        value = self._tools.value(node.name)
        return value.astype(object) if value is not None and value.dtype.kind in "iu" and value.ndim <= 1 else None

    def shape(self, node: NodeDef) -> Numbers | None:
        """What Shape gives."""
        sizes = self._tools.sizes(node.input[0])
        return None if sizes is None else np.array([*sizes, None], object)[:-1]


def dtype_of(node: NodeDef) -> int:
    """The type of the numbers that a node of RULES gives."""
    name = TYPES.get(node.op, "T")
    # Shape had no out_type once.
    return node.attr[name].type if name in node.attr else tf.int32.as_datatype_enum


def _identity(known: KnownValues, node: NodeDef) -> Numbers | None:
    return known.of(node.input[0])


def _slice(known: KnownValues, node: NodeDef) -> Numbers | None:
    values = known.inputs(node)
    if values is None or values[0].ndim != 1 or any(len(value) != 1 or value[0] is None for value in values[1:]):
        return None
    if node.attr["ellipsis_mask"].i or node.attr["new_axis_mask"].i:
        return None
    begin, end, stride = (int(value[0]) for value in values[1:])
    if node.attr["shrink_axis_mask"].i:
        return np.array(values[0][begin], object)
    return values[0][None if node.attr["begin_mask"].i else begin : None if node.attr["end_mask"].i else end : stride]


def _part(known: KnownValues, node: NodeDef) -> Numbers | None:
    values = known.inputs(node)
    if values is None or values[0].ndim != 1 or any(len(value) != 1 or value[0] is None for value in values[1:]):
        return None
    begin, size = (int(value[0]) for value in values[1:])
    return values[0][begin:] if size == -1 else values[0][begin : begin + size]


def _pack(known: KnownValues, node: NodeDef) -> Numbers | None:
    values = known.inputs(node)
    if values is None or any(value.ndim for value in values):
        return None
    return np.array([*(value.item() for value in values), None], object)[:-1]


def _concat(known: KnownValues, node: NodeDef) -> Numbers | None:
    values = known.inputs(node)
    return None if values is None or any(v.ndim != 1 for v in values[:-1]) else np.concatenate(values[:-1])


def _gather(known: KnownValues, node: NodeDef) -> Numbers | None:
    values = known.inputs(node)
    if values is None or values[0].ndim != 1 or None in values[1].reshape(-1):
        return None
    return values[0][values[1].astype(int)]


def _product(known: KnownValues, node: NodeDef) -> Numbers | None:
    values = known.inputs(node)
    if values is None or values[0].ndim != 1 or flag(node, "keep_dims"):
        return None
    numbers = list(values[0])
    return np.array(None if None in numbers else int(np.prod(numbers, dtype=object)), object)


def _expand(known: KnownValues, node: NodeDef) -> Numbers | None:
    values = known.inputs(node)
    return None if values is None or values[0].ndim else values[0].reshape(1)


def _elementwise(compute: Callable[[int, int], int]) -> Callable[[KnownValues, NodeDef], Numbers | None]:
    def rule(known: KnownValues, node: NodeDef) -> Numbers | None:
        values = known.inputs(node)
        if values is None:
            return None
        a, b = np.broadcast_arrays(*values)
        pairs = zip(a.reshape(-1), b.reshape(-1), strict=True)
        numbers = [None if None in pair else compute(*pair) for pair in pairs]
        return np.array([*numbers, None], object)[:-1].reshape(a.shape)

    return rule


RULES: Mapping[str, Callable[[KnownValues, NodeDef], Numbers | None]] = {
    "Const": KnownValues.const,
    "Shape": KnownValues.shape,
    "Identity": _identity,
    "Cast": _identity,
    "StridedSlice": _slice,
    "Slice": _part,
    "Pack": _pack,
    "ConcatV2": _concat,
    "GatherV2": _gather,
    "Gather": _gather,
    "Prod": _product,
    "ExpandDims": _expand,
    "Mul": _elementwise(lambda a, b: a * b),
    "Add": _elementwise(lambda a, b: a + b),
    "AddV2": _elementwise(lambda a, b: a + b),
    "Sub": _elementwise(lambda a, b: a - b),
    "Maximum": _elementwise(max),
    "Minimum": _elementwise(min),
}
