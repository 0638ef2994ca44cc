"""Groups the nodes of a network as quantizer and compiler fuse them: each group is one operator for the DPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dnndk_prep.check.forms import ADDS, Form, behind, find_forms
from dnndk_prep.check.network import INPUTS, PASSES, Network, Op, node_of
from dnndk_prep.check.words import words

BATCH_NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "BatchNormWithGlobalNormalization")
BIASES = ("BiasAdd", "BiasAddV1", *ADDS)
# Ops that are a group by themselves, and its kind.
KINDS = {
    "MaxPool": "max_pool",
    "AvgPool": "avg_pool",
    "AddN": "add",
    "Concat": "concat",
    "ConcatV2": "concat",
    "ResizeNearestNeighbor": "resize",
    "ResizeBilinear": "resize",
    "Softmax": "softmax",
    "ArgMax": "argmax",
    "Reshape": "reshape",
    "Squeeze": "reshape",
    "ExpandDims": "reshape",
    "Pad": "pad",
    **dict.fromkeys(BATCH_NORMS, "scale"),
}
LAYERS = {
    "Conv2D": "conv",
    "DepthwiseConv2dNative": "depthwise",
    "MatMul": "dense",
    "Conv2DBackpropInput": "transposed",
}
# The input of each that has the image.
IMAGE = {"Conv2DBackpropInput": 2}
WEIGHTED = frozenset(LAYERS.values())
CONTROL = words(
    "Enter Exit Merge Switch NextIteration LoopCond While StatelessWhile If StatelessIf Case StatelessCase For "
    "PartitionedCall StatefulPartitionedCall"
)
CONTROL_PREFIXES = ("TensorArray", "TensorList", "EmptyTensorList", "Stack", "CudnnRNN", "BlockLSTM", "GRUBlock")


@dataclass(frozen=True)
class Group:
    """One operator: what it is, the op that gives it its numbers, and all its nodes in order without the activation's.

    activation: what directly follows and is computed with it where the DPU can.
    """

    kind: str
    main: str
    nodes: tuple[str, ...]
    activation: Form | None = None

    @property
    def end(self) -> str:
        """The node that gives the result of the whole."""
        return self.activation.end if self.activation is not None else self.nodes[-1]

    @property
    def members(self) -> tuple[str, ...]:
        """The nodes, those of the activation last."""
        return (*self.nodes, *(self.activation.nodes if self.activation is not None else ()))


def group(network: Network) -> list[Group]:
    """The groups in topological order of their last nodes; every node is in one."""
    return _Grouping(network).groups()


class _Grouping:
    """The nodes that have found their group."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.found: list[Group] = []
        self.taken: set[str] = set()
        self.looped = _looped(network)
        self.forms = [form for form in find_forms(network) if not self.looped.intersection(form.nodes)]
        self.in_form = {name for form in self.forms for name in form.nodes}

    def groups(self) -> list[Group]:
        network = self.network
        self._add_plain()
        for name in filter(self._is_free, self.looped):
            self._add(Group("control", name, (name,)))
        self._add_sizes()
        # Layers first, for they take a bias that would be a group of its own.
        for op in network.ops.values():
            if op.op in LAYERS and self._is_free(op.name) and self._has_weights(op):
                self._add(self._layer(op))
        for op in network.ops.values():
            if self._is_free(op.name) and op.name not in self.in_form:
                self._add(self._scale(op) or Group(self._kind(op), op.name, (op.name,)))
        for form in self.forms:
            self._attach(form)
        order = {name: place for place, name in enumerate(network.ops)}
        return sorted(self.found, key=lambda one: order[one.end])

    def _add(self, one: Group) -> None:
        self.taken.update(one.members)
        self.found.append(one)

    def _is_free(self, name: str) -> bool:
        return name not in self.taken

    def _add_plain(self) -> None:
        """What computes nothing: constants, inputs, and what hands values on."""
        kinds = {
            "Const": "constant",
            "NoOp": "unread",
            **dict.fromkeys(INPUTS, "input"),
            **dict.fromkeys(PASSES, "pass"),
        }
        needed = _needed(self.network)
        for op in self.network.ops.values():
            kind = kinds.get(op.op) if op.name in needed or op.op in INPUTS else "unread"
            if kind is not None:
                self._add(Group(kind, op.name, (op.name,)))

    def _add_sizes(self) -> None:
        """What computes the size of a transposed convolution: the compiler knows it."""
        for conv in self.network.ops.values():
            if conv.op != "Conv2DBackpropInput":
                continue
            within, waiting = {conv.name}, [node_of(conv.inputs[0])]
            while waiting:
                name = waiting.pop()
                readers = set(self.network.readers[name])
                if self._is_free(name) and readers <= within and self.network.ops[name].dtype.startswith("int"):
                    within.add(name)
                    waiting += map(node_of, self.network.ops[name].inputs)
                elif self._is_free(name) and readers <= within and self.network.ops[name].op == "Shape":
                    within.add(name)
            for name in within - {conv.name}:
                self._add(Group("sizes", name, (name,)))

    def _has_weights(self, op: Op) -> bool:
        return self.network.constant_shape(op.inputs[1]) is not None

    def _layer(self, op: Op) -> Group:
        nodes = [op.name]
        first, last = self._before(op), self._only_reader(op.name)
        # An atrous convolution in three nodes.
        if first is not None and first.op == "SpaceToBatchND" and last is not None and last.op == "BatchToSpaceND":
            nodes = [first.name, op.name, last.name]
        # A batch norm here is folded by the quantizer; what was optimized before has none.
        for is_next in (self._is_bias, self._is_norm):
            follows = self._only_reader(nodes[-1])
            if follows is not None and is_next(follows, nodes[-1]):
                nodes.append(follows.name)
        return Group(LAYERS[op.op], op.name, tuple(nodes))

    def _before(self, op: Op) -> Op | None:
        """The op whose value only `op` reads as its image."""
        maker = self.network.maker(op.inputs[IMAGE.get(op.op, 0)])
        return maker if self._only_reader(maker.name) is op else None

    def _only_reader(self, name: str) -> Op | None:
        readers = self.network.read_by(name)
        if len(readers) != 1 or self.network.is_output(name) or not self._is_free(readers[0]):
            return None
        return self.network.ops[readers[0]]

    def _is_bias(self, op: Op, name: str) -> bool:
        return op.op in BIASES and op.name not in self.in_form and self._adds_vector(op, name)

    def _is_norm(self, op: Op, name: str) -> bool:
        return op.op in BATCH_NORMS

    def _adds_vector(self, op: Op, name: str) -> bool:
        """Whether `op` adds one constant a channel, or one for all, to what `name` gives."""
        for reference in op.inputs:
            if self.network.maker(reference).name != name:
                shape = self.network.constant_shape(reference)
                return shape is not None and all(size == 1 for size in shape[:-1])
        return False

    def _scale(self, op: Op) -> Group | None:
        """A product with constants and the sum behind it: a batch norm that no layer took in."""
        if op.op == "Mul" and self._constant_side(op) is not None:
            follows = self._only_reader(op.name)
            if follows is not None and self._is_bias(follows, op.name):
                return Group("scale", op.name, (op.name, follows.name))
            return Group("scale", op.name, (op.name,))
        return None

    def _constant_side(self, op: Op) -> str | None:
        return next((name for name in op.inputs if self.network.constant_shape(name) is not None), None)

    def _kind(self, op: Op) -> str:
        if op.op in CONTROL or op.op.startswith(CONTROL_PREFIXES):
            return "control"
        if op.op in ("Mean", "Max") and (axes := self._axes(op)) is not None:
            if op.op == "Mean" and axes == [1, 2]:
                return "global_pool"
            if op.op == "Max" and axes in ([1], [2], [1, 2]):
                return "reduce_max"
        if op.op in BIASES and self._constant_side(op) is not None:
            return "shift"
        if op.op in (*ADDS, "Mul"):
            return "multiply" if op.op == "Mul" else "add"
        return KINDS.get(op.op, "other")

    def _axes(self, op: Op) -> list[int] | None:
        value = self.network.constant(op.inputs[1])
        shape = self.network.shape(op.inputs[0])
        return None if value is None or shape is None or len(shape) != 4 else [int(axis) for axis in value.reshape(-1)]

    def _attach(self, form: Form) -> None:
        """Make the form part of the operator that it follows, or an operator of its own."""
        makers = {one.nodes[-1]: place for place, one in enumerate(self.found) if one.nodes}
        place = makers.get(node_of(form.source))
        if place is not None:
            before = self.found[place]
            fits = form.kind in JOINED and before.kind in ACTIVATED and before.activation is None
            if fits and behind(self.network, form, before.nodes[-1]):
                self.found[place] = replace(before, activation=form)
                self.taken.update(form.nodes)
                return
        self._add(Group("activation", form.end, form.nodes[:0], form))


# The activations that the quantizers' patterns join to the operator before, and the operators that they join them to.
JOINED = ("relu", "relu_six", "relu_n", "leaky_relu")
ACTIVATED = WEIGHTED | {"add", "multiply", "scale", "max_pool", "avg_pool", "global_pool"}


def _needed(network: Network) -> set[str]:
    """The nodes that the outputs read, directly or not."""
    found: set[str] = set()
    waiting: list[str] = list(network.outputs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += map(node_of, network.ops[name].inputs)
    return found


def _looped(network: Network) -> set[str]:
    """What runs in loops: all that reads what enters one, up to where its results leave it."""
    found: set[str] = set()
    for op in network.ops.values():
        enters = op.op in ("Enter", "RefEnter") or any(
            node_of(name) in found and network.ops[node_of(name)].op not in ("Exit", "RefExit") for name in op.inputs
        )
        if enters:
            found.add(op.name)
    return found


def producers(network: Network, one: Group, owner: dict[str, Group]) -> Iterable[tuple[str, Group]]:
    """The references that a group reads from others, each with the group that makes it; constants are none."""
    inside = set(one.members)
    seen: set[str] = set()
    for name in one.members:
        for reference in network.ops[name].inputs:
            maker = network.maker(reference)
            if maker.name not in inside and maker.name not in seen:
                seen.add(maker.name)
                if owner[maker.name].kind not in ("constant", "sizes"):
                    yield reference, owner[maker.name]
