"""The shapes that are known so far, and the numbers that shapes are computed with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dnndk_prep.check.network import Network, Op, Shape

Size = int | None
# What is known of a small integer vector that a shape is computed with: each number, or None.
Known = list[Size]
Shapes = list["Shape | None"]
# Their first input says nothing of the result's shape, or may be unknown.
WITHOUT_FIRST = frozenset(("Conv2DBackpropInput", "Split", "Concat", "Fill", "Range", "Select"))


class Inference:
    """The shapes so far."""

    def __init__(
        self,
        network: Network,
        given: Mapping[str, Shape],
        rules: Mapping[str, Rule],
        number_rules: Mapping[str, NumberRule],
    ) -> None:
        self.network, self.given, self.rules, self.number_rules = network, given, rules, number_rules
        self.shapes: dict[str, Shapes] = {}

    def of(self, op: Op) -> Shapes:
        if op.op == "Const":
            return [op.constant_shape]
        if op.op.startswith("Placeholder") and not op.inputs:
            told = op.attrs.get("shape")
            # TensorFlow before 1.6 wrote a scalar's shape where none was given.
            return [told if told else self.given.get(op.name, told)]
        inputs = [self.shape(name) for name in op.inputs]
        rule = self.rules.get(op.op)
        if rule is None or (inputs and inputs[0] is None and op.op not in WITHOUT_FIRST):
            return [None]
        return rule(self, op, inputs)

    def shape(self, reference: str) -> Shape | None:
        name, _, index = reference.partition(":")
        shapes = self.shapes.get(name, [None])
        return shapes[int(index or 0)] if int(index or 0) < len(shapes) else None

    def numbers(self, reference: str) -> Known | None:
        """What is known of a vector (or a scalar, as one number) of whole numbers."""
        op = self.network.ops[reference.partition(":")[0]]
        if op.op == "Const":
            small = op.constant_shape is not None and prod(size or 0 for size in op.constant_shape) <= 64
            value = op.value if small else None
            # A Range may count in floats.
            if value is None or value.dtype.kind not in "iuf" or not np.array_equal(value, np.rint(value)):
                return None
            return [int(n) for n in value.reshape(-1)]
        rule = self.number_rules.get(op.op)
        return rule(self, op) if rule is not None else None

    def axes(self, reference: str, rank: int) -> list[int] | None:
        """Constant axes, negative ones counted from the end."""
        known = self.numbers(reference)
        return None if known is None or None in known else [int(axis or 0) % rank for axis in known]


# Of the inference, the op, and the shapes of its inputs.
Rule = Callable[[Inference, "Op", list[Any]], Shapes]
NumberRule = Callable[[Inference, "Op"], Known | None]


def times(size: Size, number: Size) -> Size:
    """A product, where both are known."""
    return None if size is None or number is None else size * number


def over(size: Size, number: int) -> Size:
    """A quotient, where it is known."""
    return None if size is None else size // number
