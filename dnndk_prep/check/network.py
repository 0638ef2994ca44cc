"""An optimized frozen graph as the check sees it: operators with shapes, attributes and constants, no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from dnndk_prep.check.graph_file import array, dtype_name, sizes

Shape = tuple[int | None, ...]
# They hand a value on as it is.
PASSES = ("Identity", "IdentityN", "Snapshot")
INPUTS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
LOOP_BACK = ("NextIteration", "RefNextIteration")


@dataclass(frozen=True)
class Op:
    """One node. inputs: references to values (`a`, `a:1`), without those that only hold an order.

    load: reads the value of a Const when it is asked for: weights may be hundreds of MiB. None where it stayed in the
    file; every Const has its constant_shape.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    constant_shape: Shape | None = None
    load: Callable[[], np.ndarray] | None = None

    @cached_property
    def value(self) -> np.ndarray | None:
        """The value of a Const; None for any other op, and for weights that stayed in the file."""
        return self.load() if self.load is not None else None


class Network:
    """The operators in topological order, who reads each, and the shape of every value.

    inputs and outputs are node names. given: the shapes of inputs whose Placeholder does not tell one.
    """

    def __init__(
        self,
        ops: Iterable[Op],
        inputs: Sequence[str],
        outputs: Sequence[str],
        given: Mapping[str, Shape] | None = None,
    ) -> None:
        # Here, for what infers shapes reads this class.
        from dnndk_prep.check.shapes import infer

        self.ops = _in_order(ops)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.readers: dict[str, list[str]] = {name: [] for name in self.ops}
        for op in self.ops.values():
            for name in dict.fromkeys(map(node_of, op.inputs)):
                self.readers[name].append(op.name)
        self.shapes = infer(self, given or {})

    def source(self, reference: str) -> str:
        """The reference behind all Identities; that of the node itself if it is none."""
        while (op := self.ops[node_of(reference)]).op in PASSES and not reference.endswith(":1"):
            reference = op.inputs[0]
        return reference

    def maker(self, reference: str) -> Op:
        """The op that makes a value, behind all Identities."""
        return self.ops[node_of(self.source(reference))]

    def constant(self, reference: str) -> np.ndarray | None:
        """The value of a Const, also behind Identities; None where it is computed."""
        return self.maker(reference).value

    def constant_shape(self, reference: str) -> Shape | None:
        """The shape of a Const without reading its value; None where the value is computed."""
        return self.maker(reference).constant_shape

    def shape(self, reference: str) -> Shape | None:
        """The shape of a value; None where it is not known."""
        name, _, index = self.source(reference).partition(":")
        shapes = self.shapes[name]
        return shapes[int(index or 0)] if int(index or 0) < len(shapes) else None

    def read_by(self, name: str) -> list[str]:
        """The ops that read a node, each once, looking through Identities."""
        found: list[str] = []
        for reader in self.readers[name]:
            found += self.read_by(reader) if self.ops[reader].op in PASSES else [reader]
        return list(dict.fromkeys(found))

    def is_output(self, name: str) -> bool:
        """Whether the node's value leaves the network, also through Identities."""
        passing = [reader for reader in self.readers[name] if self.ops[reader].op in PASSES]
        return name in self.outputs or any(map(self.is_output, passing))


def node_of(reference: str) -> str:
    """The node that a reference names."""
    return reference.partition(":")[0]


def from_graph_def(
    graph_def: Any, inputs: Sequence[str], outputs: Sequence[str], given: Mapping[str, Shape] | None = None
) -> Network:
    """The network of a GraphDef, of TensorFlow or of read_graph_file: both have the same fields."""
    return Network(map(_op, graph_def.node), inputs, outputs, given)


def _op(node: Any) -> Op:
    attrs = _attributes(node)
    values = {name: value for name, value in attrs.items() if name != "value"}
    plain = {name: _plain(value) for name, value in values.items()}
    names = tuple(name for name in node.input if not name.startswith("^"))
    dtype = dtype_name(plain.get("DstT") or plain.get("out_type") or plain.get("T") or plain.get("dtype") or 1)
    if node.op == "Const":
        tensor = attrs["value"].tensor
        # A field of ours: TensorFlow's tensors have all their numbers.
        load = None if getattr(tensor, "left_out", False) else partial(array, tensor)
        return Op(node.name, node.op, names, plain, dtype, sizes(tensor.tensor_shape), load)
    return Op(node.name, node.op, names, plain, dtype)


def _attributes(node: Any) -> dict[str, Any]:
    """TensorFlow's message has a map, ours the same as a list of pairs."""
    if isinstance(node.attr, Mapping) or hasattr(node.attr, "items"):
        return dict(node.attr.items())
    return {entry.key: entry.value for entry in node.attr}


def _plain(value: Any) -> Any:
    """The value of an attribute in Python; None for what the check never asks for."""
    kind = value.WhichOneof("value")
    if kind in ("i", "f", "b", "type"):
        return getattr(value, kind)
    if kind == "s":
        return value.s.decode("utf-8", errors="replace")
    if kind == "shape":
        return sizes(value.shape)
    if kind == "list":
        return next((list(items) for name in ("i", "f", "b", "type") if (items := getattr(value.list, name))), [])
    return None


def _in_order(ops: Iterable[Op]) -> dict[str, Op]:
    """Each op after those it reads; a loop is entered where its Merge reads a NextIteration."""
    there = {op.name: op for op in ops}
    found: dict[str, Op] = {}
    for first in there.values():
        waiting = [(first, iter(first.inputs))]
        while waiting:
            op, rest = waiting[-1]
            if op.name in found:
                waiting.pop()
                continue
            name = next((node_of(name) for name in rest), None)
            if name is None:
                found[op.name] = op
                waiting.pop()
            elif name not in found and there[name].op not in LOOP_BACK:
                waiting.append((there[name], iter(there[name].inputs)))
    return found
