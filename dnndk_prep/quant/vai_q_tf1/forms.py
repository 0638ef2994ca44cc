"""Activations in the form that the DPU computes: relu6, leaky relu with 26/256, hard-sigmoid with its scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dnndk_prep.quant.matching import ANY, CONST, Match, Replacement, op, replace_all
from dnndk_prep.quant.network import Node, attribute, const, node

ADD = "Add AddV2"
# relu6(x + 3); that the constant is 3, and the next one 1/6, is not looked at.
GATE = op("Relu6", op(ADD, ANY.named("input"), CONST.named("three"), role="add"), role="relu6")
ALPHA, DPU_ALPHA, NEAR = 0.1, 26 / 256, 1e-5
# x / 6 as the DPU computes it, as a factor behind the division.
HARD_SIGMOID_SCALE = 6.0 * 2731 / 16384.0
HARD_SIGMOID = "vitis_hard_sigmoid_mul"


def relu6_of_minimum(nodes: Sequence[Node], notes: list[str], is_faithful: bool = True) -> list[Node]:
    """Minimum(Relu(x), c) as Relu6; if it `is_faithful`, whatever c is."""

    def make(match: Match, read: frozenset[str]) -> Replacement | None:
        source, ceiling = match.inputs[0].inputs[0].node, match.inputs[1].node.array
        if not np.all(ceiling == 6):
            if not is_faithful:
                return None
            notes.append(
                f"{match.node.name}: vai_q_tensorflow takes the ceiling {float(ceiling.reshape(-1)[0]):g} for 6, "
                "and so is it here; the float result is another one"
            )
        return Replacement([source, node(match.node.name, "Relu6", match.inputs[0].node.inputs[0])])

    return replace_all(nodes, op("Minimum", op("Relu", ANY), CONST), make)


def hard_swish_order(nodes: Sequence[Node]) -> list[Node]:
    """(x * relu6(x + 3)) / 6 as x * (relu6(x + 3) / 6)."""

    def make(match: Match, read: frozenset[str]) -> Replacement:
        divided, product, sixth = match.node, match["product"], match["sixth"]
        made = [
            match["x"],
            match["relu6"],
            match["add"],
            match["three"],
            sixth,
            node(divided.name, divided.op, match["relu6"].name, sixth.name),
            node(product.name, "Mul", product.inputs[0], divided.name),
        ]
        return Replacement(made, {divided.name: product.name}, frozenset([product.name]))

    product = op("Mul", ANY.named("x"), GATE, role="product")
    return replace_all(nodes, op("Mul RealDiv", product, CONST.named("sixth")), make)


def leaky_relus(nodes: Sequence[Node]) -> list[Node]:
    """An alpha of 0.1 becomes 26/256 in each spelling; others stay."""
    negative = op("Relu", op("Neg", ANY))
    sub = op("Sub", op("Relu"), op("Mul", CONST.named("alpha"), negative))
    maximum = op("Maximum", op("Mul", CONST.named("alpha"), ANY), ANY)
    current = replace_all(nodes, maximum, _with_constant_alpha((1,), _maximum_nodes))
    current = replace_all(current, sub, _with_constant_alpha((), _sub_nodes))

    def make(match: Match, read: frozenset[str]) -> Replacement:
        leaky = match.node
        if _is_tenth(leaky.attrs["alpha"].f):
            leaky = replace(leaky, attrs={**leaky.attrs, "alpha": attribute(DPU_ALPHA)})
        return Replacement([match.inputs[0].node, leaky])

    return replace_all(current, op("LeakyRelu", ANY), make)


def hard_sigmoids(nodes: Sequence[Node], notes: list[str]) -> list[Node]:
    """relu6(x + 3) / 6 gets a factor behind it."""

    def make(match: Match, read: frozenset[str]) -> Replacement:
        three, sixth = match["three"].array, match["sixth"].array
        if not np.allclose(three, 3) or not np.allclose(sixth, 6 if match.node.op == "RealDiv" else 1 / 6):
            notes.append(
                f"{match.node.name}: vai_q_tensorflow takes this for the hard-sigmoid relu6(x + 3) / 6, which it is "
                "not, and gives it at least 7 places behind the point"
            )
        name = f"{match.node.name}/{HARD_SIGMOID}"
        made = [
            *(match.node, match["sixth"], match["relu6"], match["add"], match["three"], match["input"]),
            const(f"{name}/scale", np.array([HARD_SIGMOID_SCALE], np.float32)),
            node(name, "Mul", match.node.name, f"{name}/scale"),
        ]
        return Replacement(made, {match.node.name: name}, frozenset([name]))

    return replace_all(nodes, op("Mul RealDiv", GATE, CONST.named("sixth")), make)


def sigmoids_as_hard_sigmoids(nodes: Sequence[Node]) -> list[Node]:
    """Sigmoid(x) as relu6(x + 3) / 6."""

    def make(match: Match, read: frozenset[str]) -> Replacement:
        old = match.node.name
        name = f"{old}/h_sigmoid"
        made = [
            const(f"{old}/offset", np.array([3], np.float32)),
            node(f"{name}/add", "Add", match.node.inputs[0], f"{old}/offset"),
            node(f"{name}/relu6", "Relu6", f"{name}/add"),
            const(f"{name}/scale", np.array([1 / 6], np.float32)),
            node(f"{name}/mul", "Mul", f"{name}/relu6", f"{name}/scale"),
        ]
        return Replacement(made, {old: f"{name}/mul"})

    return replace_all(nodes, op("Sigmoid"), make, may_drop=True)


def _is_tenth(alpha: float) -> bool:
    return abs(float(np.float32(alpha)) - ALPHA) < NEAR


def _maximum_nodes(match: Match, alpha: Node) -> list[Node]:
    return [match.inputs[1].node, alpha, match.inputs[0].node, match.node]


def _sub_nodes(match: Match, alpha: Node) -> list[Node]:
    product = match.inputs[1]
    relu = product.inputs[1]
    return [
        *(relu.inputs[0].inputs[0].node, relu.inputs[0].node, relu.node),
        *(alpha, product.node, match.inputs[0].node, match.node),
    ]


def _with_constant_alpha(shape: tuple[int, ...], ordered):  # type: ignore[no-untyped-def]
    def make(match: Match, read: frozenset[str]) -> Replacement:
        alpha = match["alpha"]
        if _is_tenth(alpha.array.reshape(-1)[0]):
            alpha = alpha.holding(np.full(shape, DPU_ALPHA, np.float32))
        return Replacement(ordered(match, alpha))

    return make
