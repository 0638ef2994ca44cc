"""Activations as they stand in graphs: one op, or several that a quantizer knows as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dnndk_prep.check.network import Network, Op, node_of

ADDS, MULS = ("Add", "AddV2"), ("Mul",)
# Ops that are an activation by themselves.
SINGLE = {
    "Relu": "relu",
    "Relu6": "relu_six",
    "LeakyRelu": "leaky_relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Elu": "elu",
    "Selu": "selu",
    "Softplus": "softplus",
    "Softsign": "softsign",
}
# float32 numbers of a graph, against the decimal fractions that they stand for.
CLOSE = 1e-4


@dataclass(frozen=True)
class Form:
    """One activation: what it is, the nodes that make it, and the value that it reads.

    number: the slope of a leaky_relu, the ceiling of a relu_n or a clip.
    """

    kind: str
    nodes: tuple[str, ...]
    source: str
    number: float | None = None

    @property
    def end(self) -> str:
        """The node that gives the result."""
        return self.nodes[-1]


def find_forms(network: Network) -> list[Form]:
    """All activations; a node belongs to the largest form that it fits in."""
    taken: set[str] = set()
    found: list[Form] = []
    # The order of the quantizer's patterns: a hard-swish holds a hard-sigmoid, and that a relu6.
    for match in (
        _hard_swish,
        _hard_sigmoid,
        _swish,
        _keras_hard_sigmoid,
        _leaky,
        _relu_pair,
        _ceiling,
        _clip,
        _single,
    ):
        for op in network.ops.values():
            form = match(network, op) if op.name not in taken else None
            if form is not None and not taken.intersection(form.nodes) and _is_closed(network, form):
                taken.update(form.nodes)
                found.append(form)
    return found


def split_pair(network: Network, op: Op, kinds: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The inputs of an op of two of `kinds`, both ways round."""
    if op.op in kinds and len(op.inputs) == 2:
        yield op.inputs[0], op.inputs[1]
        yield op.inputs[1], op.inputs[0]


def scalar(network: Network, reference: str) -> float | None:
    """The number of a constant that holds one number; None for any other value."""
    shape = network.constant_shape(reference)
    if shape is None or any(size != 1 for size in shape):
        return None
    value = network.constant(reference)
    return None if value is None or value.dtype.kind not in "fiu" else float(value.reshape(-1)[0])


def _is_closed(network: Network, form: Form) -> bool:
    """Whether nothing outside reads what is inside: else the inner values are needed, and the form is none."""
    return not any(
        network.is_output(name) or not set(network.read_by(name)) <= set(form.nodes) for name in form.nodes[:-1]
    )


def _with_number(
    network: Network, op: Op, kinds: tuple[str, ...], wanted: float | None = None
) -> tuple[str, float] | None:
    """The value that `op` adds to, multiplies or limits, and the constant that it does so with."""
    for value, other in split_pair(network, op, kinds):
        number = scalar(network, other)
        if (
            number is not None
            and (wanted is None or abs(number - wanted) <= CLOSE)
            and not _is_constant(network, value)
        ):
            return value, number
    return None


def _is_constant(network: Network, reference: str) -> bool:
    return network.constant_shape(reference) is not None


def _relu6(network: Network, reference: str) -> tuple[tuple[str, ...], str] | None:
    """The nodes of min(max(x, 0), 6), and x."""
    op = network.maker(reference)
    if op.op == "Relu6":
        return (op.name,), op.inputs[0]
    if (limited := _with_number(network, op, ("Minimum",), 6)) is None:
        return None
    inner = network.maker(limited[0])
    if inner.op == "Relu":
        return (inner.name, op.name), inner.inputs[0]
    lower = _with_number(network, inner, ("Maximum",), 0)
    return None if lower is None else ((inner.name, op.name), lower[0])


def _gate(network: Network, reference: str) -> tuple[tuple[str, ...], str] | None:
    """The nodes of relu6(x + 3), and x."""
    if (limited := _relu6(network, reference)) is None:
        return None
    add = network.maker(limited[1])
    shifted = _with_number(network, add, ADDS, 3)
    return None if shifted is None else ((add.name, *limited[0]), shifted[0])


def _sixth(network: Network, op: Op) -> str | None:
    """What `op` divides by 6."""
    if (product := _with_number(network, op, MULS, 1 / 6)) is not None:
        return product[0]
    if op.op in ("RealDiv", "Div"):
        divisor = scalar(network, op.inputs[1])
        return op.inputs[0] if divisor is not None and abs(divisor - 6) <= CLOSE else None
    return None


def _hard_sigmoid(network: Network, op: Op) -> Form | None:
    divided = _sixth(network, op)
    gate = None if divided is None else _gate(network, divided)
    return None if gate is None else Form("hsigmoid", (*gate[0], op.name), network.source(gate[1]))


def _hard_swish(network: Network, op: Op) -> Form | None:
    """x * (relu6(x + 3) / 6), and (x * relu6(x + 3)) / 6."""
    for value, other in split_pair(network, op, MULS):
        inner = _hard_sigmoid(network, network.maker(other))
        if inner is not None and inner.source == network.source(value):
            return Form("hswish", (*inner.nodes, op.name), inner.source)
    divided = _sixth(network, op)
    product = None if divided is None else network.maker(divided)
    for value, other in split_pair(network, product, MULS) if product is not None else ():
        gate = _gate(network, other)
        if gate is not None and network.source(gate[1]) == network.source(value) and product is not None:
            return Form("hswish", (*gate[0], product.name, op.name), network.source(value))
    return None


def _swish(network: Network, op: Op) -> Form | None:
    for value, other in split_pair(network, op, MULS):
        inner = network.maker(other)
        if inner.op == "Sigmoid" and network.source(inner.inputs[0]) == network.source(value):
            return Form("swish", (inner.name, op.name), network.source(value))
    return None


def _keras_hard_sigmoid(network: Network, op: Op) -> Form | None:
    """clip(0.2 x + 0.5, 0, 1), the hard-sigmoid of Keras 1 and 2, which the DPU has not."""
    nodes, value = [op.name], None
    if op.op == "ClipByValue" and [scalar(network, name) for name in op.inputs[1:]] == [0, 1]:
        value = op.inputs[0]
    for outer, inner, high, low in (("Minimum", "Maximum", 1, 0), ("Maximum", "Minimum", 0, 1)):
        limited = _with_number(network, op, (outer,), high)
        between = None if limited is None else network.maker(limited[0])
        second = None if between is None else _with_number(network, between, (inner,), low)
        if second is not None and between is not None:
            nodes, value = [between.name, op.name], second[0]
    if value is None:
        return None
    add = network.maker(value)
    shifted = _with_number(network, add, ADDS, 0.5)
    product = None if shifted is None else network.maker(shifted[0])
    scaled = None if product is None else _with_number(network, product, MULS, 0.2)
    if product is None or scaled is None:
        return None
    return Form("hard_sigmoid_of_keras", (product.name, add.name, *nodes), network.source(scaled[0]))


def _leaky(network: Network, op: Op) -> Form | None:
    """max(a x, x)."""
    for value, other in split_pair(network, op, ("Maximum",)):
        inner = network.maker(other)
        scaled = _with_number(network, inner, MULS)
        if scaled is not None and network.source(scaled[0]) == network.source(value):
            return Form("leaky_relu", (inner.name, op.name), network.source(value), scaled[1])
    return None


def _relu_pair(network: Network, op: Op) -> Form | None:
    """relu(x) - a relu(-x) with one slope or one a channel: how Keras writes LeakyReLU and PReLU without an op."""
    for left, right in [*split_pair(network, op, ADDS), *([op.inputs] if op.op == "Sub" else [])]:
        positive, product = network.maker(left), network.maker(right)
        if positive.op != "Relu" or product.op != "Mul":
            continue
        for slope, value in split_pair(network, product, MULS):
            negative = network.maker(value)
            turned = network.maker(negative.inputs[0]) if negative.op == "Relu" else None
            if turned is None or turned.op != "Neg" or not _is_constant(network, slope):
                continue
            source = network.source(positive.inputs[0])
            if network.source(turned.inputs[0]) == source:
                nodes = (positive.name, turned.name, negative.name, product.name, op.name)
                alpha = scalar(network, slope)
                if alpha is None:
                    return Form("prelu", nodes, source)
                return Form("leaky_relu", nodes, source, alpha if op.op == "Sub" else -alpha)
    return None


def _ceiling(network: Network, op: Op) -> Form | None:
    """min(relu(x), c)."""
    limited = _with_number(network, op, ("Minimum",))
    inner = None if limited is None else network.maker(limited[0])
    if limited is None or inner is None or inner.op != "Relu":
        return None
    kind = "relu_six" if abs(limited[1] - 6) <= CLOSE else "relu_n"
    return Form(kind, (inner.name, op.name), network.source(inner.inputs[0]), limited[1])


def _clip(network: Network, op: Op) -> Form | None:
    """max(min(x, c), 0), which the quantizers leave as it is."""
    floored = _with_number(network, op, ("Maximum",), 0)
    inner = None if floored is None else network.maker(floored[0])
    limited = None if inner is None else _with_number(network, inner, ("Minimum",))
    if limited is None or inner is None:
        return None
    return Form("clip", (inner.name, op.name), network.source(limited[0]), limited[1])


def _single(network: Network, op: Op) -> Form | None:
    if op.op not in SINGLE:
        return None
    number = op.attrs.get("alpha", 0.2) if op.op == "LeakyRelu" else None
    return Form(SINGLE[op.op], (op.name,), network.source(op.inputs[0]), number)


Match = Callable[[Network, Op], Form | None]


def behind(network: Network, form: Form, name: str) -> bool:
    """Whether the form is all that reads node `name`, so that both can be one."""
    return (
        node_of(form.source) == name and not network.is_output(name) and set(network.read_by(name)) <= set(form.nodes)
    )
