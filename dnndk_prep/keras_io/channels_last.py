"""A model in channels_first as one in channels_last that gives the same numbers.

Every tensor of the new model stands in a known order to the old one's: the same, with the channels moved last, or,
after a Flatten, with its features shuffled. A layer that can work on what it gets is changed (its axis, its weights);
before one that cannot, a Permute restores the old order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.layer_graph import Call, LayerGraph, Leaf, Ref
from dnndk_prep.keras_io.layer_orders import (
    LAST,
    SAME,
    MustNotShuffle,
    Order,
    Shuffled,
    all_flattens,
    index_of,
    shuffled,
    turn_slopes,
)
from dnndk_prep.keras_io.layer_shapes import ELEMENTWISE, LOCAL, MERGES, SPATIAL, Shape, is_channels_first, shapes_of

# A larger vector is put in order by a Permute; the index of its features would take more memory than it.
MAX_SHUFFLED = 2**22
PASSING = (*ELEMENTWISE, *MERGES, "Concatenate", "BatchNormalization", "PReLU")


def to_channels_last(graph: LayerGraph) -> LayerGraph:
    """The graph with every layer in channels_last, and inputs and outputs with channels turned accordingly.

    A graph without channels_first comes back as it is. Raises ModelFileError for a layer that has no exact form.
    """
    if not any(_says_channels_first(leaf) for leaf in graph.leaves()):
        return graph
    keep: frozenset[int] = frozenset()
    while True:
        # The leaves are changed on the way; a second attempt must find them as they were.
        copies = {id(one): Leaf(one.name, one.kind, dict(one.config), list(one.weights)) for one in graph.leaves()}
        calls = [Call(copies[id(call.leaf)], list(call.inputs), dict(call.kwargs)) for call in graph.calls]
        fresh = LayerGraph(graph.name, calls, list(graph.inputs), list(graph.outputs), graph.root)
        try:
            return _Turner(fresh, keep).turned()
        except MustNotShuffle as needed:
            if needed.flattens <= keep:
                raise
            keep |= needed.flattens


class _Turner:
    def __init__(self, graph: LayerGraph, keep: frozenset[int]) -> None:
        self._old, self._keep = graph, keep
        self._shapes = shapes_of(graph)
        self._new: list[Call] = []
        # What the old calls' outputs are now, in which order they stand, and which shape they had.
        self._refs: dict[Ref, Ref] = {}
        self._orders: dict[Ref, Order] = {}
        # The order that a layer's weights and settings were changed for at its first call.
        self._settled: dict[int, Order] = {}
        self._permuted: dict[tuple[Ref, str], Ref] = {}
        self._names = {leaf.name for leaf in graph.leaves()}
        self._axes: dict[int, int] = {}

    def turned(self) -> LayerGraph:
        for number, call in enumerate(self._old.calls):
            self._number = number
            work = HANDLERS.get(call.leaf.kind, _Turner._other)
            order = work(self, call)
            for output in range(8):
                self._orders[number, output] = order
        outputs = []
        for ref in self._old.outputs:
            order = self._orders[ref]
            if isinstance(order, Shuffled):
                raise MustNotShuffle(order.flattens)
            outputs.append(self._refs[ref])
        inputs = [self._refs[ref] for ref in self._old.inputs]
        return LayerGraph(self._old.name, self._new, inputs, outputs, self._old.root)

    # What is done with an input's order.

    def _as(self, ref: Ref, wanted: str) -> Ref:
        """The new tensor for the old one `ref`, in the order `wanted`."""
        order = self._orders[ref]
        if isinstance(order, Shuffled):
            raise MustNotShuffle(order.flattens)
        new = self._refs[ref]
        if order == wanted:
            return new
        if (ref, wanted) not in self._permuted:
            rank = len(self._shape(ref))
            dims = [rank - 1, *range(1, rank - 1)] if wanted == SAME else [*range(2, rank), 1]
            source = self._old.calls[ref[0]].leaf.name
            name = self._free(f"{source}_to_{'first' if wanted == SAME else 'last'}")
            self._new.append(Call(Leaf(name, "Permute", {"dims": dims}), [new]))
            self._permuted[ref, wanted] = (len(self._new) - 1, 0)
        return self._permuted[ref, wanted]

    def _shape(self, ref: Ref) -> tuple[int | None, ...]:
        shape: Shape = self._shapes[ref[0]]
        if shape is None:
            raise self._refused(self._old.calls[ref[0]].leaf, "an output whose shape is not known")
        return shape

    def _free(self, name: str) -> str:
        while name in self._names:
            name += "_1"
        self._names.add(name)
        return name

    def _emit(self, call: Call, inputs: list[Ref]) -> None:
        self._new.append(Call(call.leaf, inputs, call.kwargs))
        for output in range(8):
            self._refs[self._number, output] = (len(self._new) - 1, output)

    def _refused(self, leaf: Leaf, found: str) -> ModelFileError:
        return ModelFileError(
            f"the layer {leaf.name!r} ({leaf.kind}) cannot be turned to channels_last exactly",
            expected="a layer that works the same on channels_last",
            found=found,
            remedy="build the model with data_format='channels_last' and train it again",
        )

    def _settle(self, call: Call, order: Order) -> bool:
        """Whether this is the layer's first call, for which its weights are to be changed; the others must agree."""
        key = id(call.leaf)
        if key not in self._settled:
            self._settled[key] = order
            return True
        first = self._settled[key]
        if index_of(first) != index_of(order):
            raise MustNotShuffle(all_flattens(first, order))
        return False

    # One method a kind of layer: each gives the order of the layer's output.

    def _input(self, call: Call) -> Order:
        shape = self._shapes[self._number]
        order = LAST if shape is not None and len(shape) > 2 and self._is_for_channels_first() else SAME
        if order == LAST and shape is not None:
            call.leaf.config["batch_input_shape"] = [shape[0], *shape[2:], shape[1]]
        self._emit(call, [])
        return order

    def _is_for_channels_first(self) -> bool:
        """Whether the first layers that tell data_format after this input take channels first."""
        seen, waiting = set(), [self._number]
        while waiting:
            number = waiting.pop()
            for reader, call in enumerate(self._old.calls):
                if reader in seen or all(source != number for source, _ in call.inputs):
                    continue
                if call.leaf.kind in SPATIAL or call.leaf.kind == "Flatten":
                    if is_channels_first(call.leaf.config):
                        return True
                elif call.leaf.kind in PASSING:
                    seen.add(reader)
                    waiting.append(reader)
        return False

    def _spatial(self, call: Call) -> Order:
        leaf = call.leaf
        wanted = self._settled.get(id(leaf)) or (LAST if is_channels_first(leaf.config) else SAME)
        self._emit(call, [self._as(call.inputs[0], str(wanted))])
        if self._settle(call, wanted) and wanted == LAST:
            if leaf.kind in LOCAL:
                raise self._refused(leaf, "data_format: 'channels_first'")
            if leaf.config.get("activation") == "softmax":
                raise self._refused(leaf, "activation: 'softmax', over the columns of an image")
            leaf.config["data_format"] = "channels_last"
        is_vector = leaf.kind.startswith("Global") and not leaf.config.get("keepdims")
        return SAME if is_vector else wanted

    def _passed(self, call: Call) -> Order:
        order = self._orders[call.inputs[0]]
        if call.leaf.config.get("activation") == "softmax" and order == LAST:
            # Over the last axis, which is another one now.
            order = SAME
        if is_channels_first(call.leaf.config):
            call.leaf.config["data_format"] = "channels_last"
        new = self._refs[call.inputs[0]] if isinstance(order, Shuffled) else self._as(call.inputs[0], order)
        self._emit(call, [new])
        return order

    def _softmax(self, call: Call) -> Order:
        order, axis = self._orders[call.inputs[0]], call.leaf.config.get("axis", -1)
        if isinstance(order, str):
            order = str(self._settled.get(id(call.leaf), order if isinstance(axis, int) else SAME))
            if self._settle(call, order) and order == LAST:
                call.leaf.config["axis"] = self._moved(axis, call.inputs[0])
        new = self._refs[call.inputs[0]] if isinstance(order, Shuffled) else self._as(call.inputs[0], order)
        self._emit(call, [new])
        return order

    def _moved(self, axis: int, ref: Ref) -> int:
        """Where an axis of the old tensor is once the channels are last."""
        rank = len(self._shape(ref))
        axis %= rank
        return axis if axis == 0 else rank - 1 if axis == 1 else axis - 1

    def _weighted(self, call: Call) -> Order:
        """BatchNormalization and PReLU: weights along axes of what they get."""
        ref, leaf = call.inputs[0], call.leaf
        order = self._orders[ref]
        settled = self._settled.get(id(leaf), order)
        if isinstance(settled, str) and isinstance(order, str):
            # A shared layer stays as its first call made it.
            order = settled
        new = self._refs[ref] if isinstance(order, Shuffled) else self._as(ref, order)
        if self._settle(call, order):
            if leaf.kind == "PReLU":
                turn_slopes(leaf, order)
            elif order == LAST:
                axes = leaf.config.get("axis", -1)
                several = isinstance(axes, list | tuple)
                moved = [self._moved(axis, ref) for axis in (axes if several else [axes])]
                leaf.config["axis"] = moved if several else moved[0]
            elif isinstance(order, Shuffled):
                leaf.weights = [shuffled(leaf, value, order) for value in leaf.weights]
        self._emit(call, [new])
        return order

    def _flatten(self, call: Call) -> Order:
        ref = call.inputs[0]
        order, leaf = self._orders[ref], call.leaf
        if order != LAST:
            self._emit(call, [self._as(ref, SAME)])
            self._settle(call, SAME)
            return SAME
        shape = self._shape(ref)
        turns_itself = self._settled.get(id(leaf)) == LAST or is_channels_first(leaf.config)
        if turns_itself and self._settle(call, LAST):
            # It moved the channels last before it flattened: they are there already, and nothing is shuffled.
            leaf.config["data_format"] = "channels_last"
        if turns_itself:
            self._emit(call, [self._as(ref, LAST)])
            return SAME
        sizes = [size for size in shape[1:] if size is not None]
        if self._number in self._keep or None in shape[1:] or math.prod(sizes) > MAX_SHUFFLED:
            self._emit(call, [self._as(ref, SAME)])
            return SAME
        self._emit(call, [self._refs[ref]])
        index = np.arange(math.prod(sizes)).reshape(sizes[0], -1).T.ravel()
        return Shuffled(tuple(index.tolist()), frozenset([self._number]))

    def _dense(self, call: Call) -> Order:
        order = self._orders[call.inputs[0]]
        if not isinstance(order, Shuffled):
            new = self._as(call.inputs[0], SAME)
            self._settle(call, SAME)
        else:
            new = self._refs[call.inputs[0]]
            if self._settle(call, order):
                call.leaf.weights = [shuffled(call.leaf, call.leaf.weights[0], order), *call.leaf.weights[1:]]
        self._emit(call, [new])
        return SAME

    def _merge(self, call: Call) -> Order:
        orders = [self._orders[ref] for ref in call.inputs]
        if any(isinstance(order, Shuffled) for order in orders):
            indexes = {index_of(order) for order in orders}
            if len(indexes) > 1:
                raise MustNotShuffle(all_flattens(*orders))
            self._emit(call, [self._refs[ref] for ref in call.inputs])
            return Shuffled(indexes.pop(), all_flattens(*orders))
        ranks = {len(shape) if (shape := self._shapes[ref[0]]) is not None else None for ref in call.inputs}
        wanted = LAST if LAST in orders and len(ranks) == 1 else SAME
        self._emit(call, [self._as(ref, wanted) for ref in call.inputs])
        return wanted

    def _concatenate(self, call: Call) -> Order:
        orders = [self._orders[ref] for ref in call.inputs]
        if any(isinstance(order, Shuffled) for order in orders):
            return self._joined(call, orders)
        wanted = self._settled.get(id(call.leaf)) or (LAST if LAST in orders else SAME)
        if self._settle(call, wanted) and wanted == LAST:
            call.leaf.config["axis"] = self._moved(call.leaf.config.get("axis", -1), call.inputs[0])
        self._emit(call, [self._as(ref, str(wanted)) for ref in call.inputs])
        return wanted

    def _joined(self, call: Call, orders: list[Order]) -> Order:
        """Vectors side by side, each shuffled in itself."""
        index: list[int] = []
        for ref, order in zip(call.inputs, orders, strict=True):
            size = self._shape(ref)[1]
            if size is None:
                raise MustNotShuffle(all_flattens(*orders))
            own = order.index if isinstance(order, Shuffled) else range(size)
            start = len(index)
            index += [start + number for number in own]
        self._emit(call, [self._refs[ref] for ref in call.inputs])
        return Shuffled(tuple(index), all_flattens(*orders))

    def _other(self, call: Call) -> Order:
        """A layer that is not known to work on another order gets the old one."""
        if _says_channels_first(call.leaf):
            raise self._refused(call.leaf, "data_format: 'channels_first'")
        self._emit(call, [self._as(ref, SAME) for ref in call.inputs])
        return SAME


def _says_channels_first(leaf: Leaf) -> bool:
    """Whether the layer, or the one that it wraps (TimeDistributed), takes channels first."""
    inner = leaf.config.get("layer")
    settings = [leaf.config, inner["config"] if isinstance(inner, dict) else {}]
    return any(isinstance(config, dict) and is_channels_first(config) for config in settings)


HANDLERS: Mapping[str, Callable[[_Turner, Call], Order]] = {
    "InputLayer": _Turner._input,
    "Flatten": _Turner._flatten,
    "Dense": _Turner._dense,
    "Concatenate": _Turner._concatenate,
    "Softmax": _Turner._softmax,
    "BatchNormalization": _Turner._weighted,
    "PReLU": _Turner._weighted,
    **dict.fromkeys(SPATIAL, _Turner._spatial),
    **dict.fromkeys(ELEMENTWISE, _Turner._passed),
    **dict.fromkeys(MERGES, _Turner._merge),
}
