"""A model in channels_first as one in channels_last that gives the same numbers.

Every tensor of the new model stands in a known order to the old one's: the same, with the channels moved last, or,
after a Flatten, with its features shuffled. A layer that can work on what it gets is changed (its axis, its weights);
before one that cannot, a Permute restores the old order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from dnndk_prep.keras_io.architecture import Config
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
from dnndk_prep.keras_io.layer_shapes import (
    ELEMENTWISE,
    LOCAL,
    MERGES,
    NORMALIZATIONS,
    RANKS,
    SPATIAL,
    is_channels_first,
    says_channels_first,
)
from dnndk_prep.keras_io.turner import Handler, Turner

# A larger vector is put in order by a Permute; the index of its features would take more memory than it.
MAX_SHUFFLED = 2**22
PASSING = (*ELEMENTWISE, *MERGES, *NORMALIZATIONS, "Concatenate", "BatchNormalization", "PReLU", "Softmax", "Rescaling")


def to_channels_last(graph: LayerGraph) -> LayerGraph:
    """The graph with every layer in channels_last, and inputs and outputs with channels turned accordingly.

    A graph without channels_first comes back as it is. Raises ModelFileError for a layer that has no exact form.
    """
    if not any(says_channels_first(leaf.kind, leaf.config) for leaf in graph.leaves()):
        return graph
    keep: frozenset[int] = frozenset()
    while True:
        # The leaves are changed on the way; a second attempt must find them as they were.
        copies = {id(one): Leaf(one.name, one.kind, dict(one.config), list(one.weights)) for one in graph.leaves()}
        calls = [Call(copies[id(call.leaf)], list(call.inputs), dict(call.kwargs)) for call in graph.calls]
        fresh = LayerGraph(graph.name, calls, list(graph.inputs), list(graph.outputs), graph.root)
        try:
            return Turner(fresh, keep).turned(HANDLERS, _other)
        except MustNotShuffle as needed:
            if needed.flattens <= keep:
                raise
            keep |= needed.flattens


def _input(turner: Turner, call: Call) -> Order:
    shape = turner.shapes[turner.number]
    order = LAST if shape is not None and len(shape) > 2 and _is_for_channels_first(turner) else SAME
    if order == LAST and shape is not None:
        call.leaf.config["batch_input_shape"] = [shape[0], *shape[2:], shape[1]]
    turner.emit(call, [])
    return order


def _is_for_channels_first(turner: Turner) -> bool:
    """Whether the first layers that tell data_format after this input take channels first."""
    seen, waiting = set(), [turner.number]
    while waiting:
        number = waiting.pop()
        for reader, call in enumerate(turner.old.calls):
            if reader in seen or all(source != number for source, _ in call.inputs):
                continue
            if call.leaf.kind in SPATIAL or call.leaf.kind == "Flatten":
                if is_channels_first(call.leaf.config):
                    return True
            elif call.leaf.kind in PASSING:
                seen.add(reader)
                waiting.append(reader)
    return False


def _spatial(turner: Turner, call: Call) -> Order:
    leaf = call.leaf
    wanted = turner.settled.get(id(leaf)) or (LAST if is_channels_first(leaf.config) else SAME)
    turner.emit(call, [turner.in_order(call.inputs[0], str(wanted))])
    if turner.settle(call, wanted) and wanted == LAST:
        if leaf.kind in LOCAL:
            raise turner.refused(leaf, "data_format: 'channels_first'")
        if leaf.config.get("activation") == "softmax":
            raise turner.refused(leaf, "activation: 'softmax', over the columns of an image")
        leaf.config["data_format"] = "channels_last"
    return SAME if _gives_vector(leaf.kind, leaf.config) else wanted


def _gives_vector(kind: str, config: Config) -> bool:
    return kind.startswith("Global") and not config.get("keepdims")


def _passed(turner: Turner, call: Call) -> Order:
    order = turner.orders[call.inputs[0]]
    if call.leaf.config.get("activation") == "softmax" and order == LAST:
        # Over the last axis, which is another one now.
        order = SAME
    if is_channels_first(call.leaf.config):
        call.leaf.config["data_format"] = "channels_last"
    new = turner.refs[call.inputs[0]] if isinstance(order, Shuffled) else turner.in_order(call.inputs[0], order)
    turner.emit(call, [new])
    return order


def _softmax(turner: Turner, call: Call) -> Order:
    order, axis = turner.orders[call.inputs[0]], call.leaf.config.get("axis", -1)
    if isinstance(order, str):
        order = str(turner.settled.get(id(call.leaf), order if isinstance(axis, int) else SAME))
        if turner.settle(call, order) and order == LAST:
            call.leaf.config["axis"] = _moved(turner, axis, call.inputs[0])
    new = turner.refs[call.inputs[0]] if isinstance(order, Shuffled) else turner.in_order(call.inputs[0], order)
    turner.emit(call, [new])
    return order


def _rescaled(turner: Turner, call: Call) -> Order:
    numbers = [call.leaf.config.get(key, default) for key, default in (("scale", 1), ("offset", 0))]
    return (_passed if all(isinstance(number, int | float) for number in numbers) else _other)(turner, call)


def _normalized(turner: Turner, call: Call) -> Order:
    """Normalisations along one axis, which may be another one."""
    ref, leaf = call.inputs[0], call.leaf
    axes = leaf.config.get("axis", -1)
    single = axes[0] if isinstance(axes, list) and len(axes) == 1 else axes
    order = turner.settled.get(id(leaf), turner.orders[ref])
    if not isinstance(single, int) or isinstance(order, Shuffled):
        return _other(turner, call)
    if turner.settle(call, order) and order == LAST:
        moved = _moved(turner, single, ref)
        leaf.config["axis"] = [moved] if isinstance(axes, list) else moved
    turner.emit(call, [turner.in_order(ref, str(order))])
    return order


def _each_step(turner: Turner, call: Call) -> Order:
    """TimeDistributed: what it wraps gets its channels last, between two Permutes that leave the steps alone."""
    leaf, inner = call.leaf, call.leaf.config["layer"]
    kind, config = inner["class_name"], inner["config"]
    if not (isinstance(config, dict) and is_channels_first(config)) and turner.settled.get(id(leaf)) != LAST:
        return _other(turner, call)
    if kind not in SPATIAL or kind in LOCAL or config.get("activation") == "softmax":
        raise turner.refused(leaf, f"data_format: 'channels_first' of the {kind} in it")
    if turner.settle(call, LAST):
        leaf.config["layer"] = {**inner, "config": {**config, "data_format": "channels_last"}}
    end = RANKS[kind] + 2
    steps = turner.in_order(call.inputs[0], SAME)
    turner.emit(call, [turner.permute(steps, [1, *range(3, end + 1), 2], f"{leaf.name}_to_last")])
    if not _gives_vector(kind, config):
        last = turner.refs[turner.number, 0]
        turner.refs[turner.number, 0] = turner.permute(last, [1, end, *range(2, end)], f"{leaf.name}_to_first")
    return SAME


def _moved(turner: Turner, axis: int, ref: Ref) -> int:
    """Where an axis of the old tensor is once the channels are last."""
    rank = len(turner.shape(ref))
    axis %= rank
    return axis if axis == 0 else rank - 1 if axis == 1 else axis - 1


def _weighted(turner: Turner, call: Call) -> Order:
    """BatchNormalization and PReLU: weights along axes of what they get."""
    ref, leaf = call.inputs[0], call.leaf
    order = turner.orders[ref]
    settled = turner.settled.get(id(leaf), order)
    if isinstance(settled, str) and isinstance(order, str):
        # A shared layer stays as its first call made it.
        order = settled
    new = turner.refs[ref] if isinstance(order, Shuffled) else turner.in_order(ref, order)
    if turner.settle(call, order):
        if leaf.kind == "PReLU":
            turn_slopes(leaf, order)
        elif order == LAST:
            axes = leaf.config.get("axis", -1)
            several = isinstance(axes, list | tuple)
            moved = [_moved(turner, axis, ref) for axis in (axes if several else [axes])]
            leaf.config["axis"] = moved if several else moved[0]
        elif isinstance(order, Shuffled):
            leaf.weights = [shuffled(leaf, value, order) for value in leaf.weights]
    turner.emit(call, [new])
    return order


def _flatten(turner: Turner, call: Call) -> Order:
    ref = call.inputs[0]
    order, leaf = turner.orders[ref], call.leaf
    if order != LAST:
        turner.emit(call, [turner.in_order(ref, SAME)])
        turner.settle(call, SAME)
        return SAME
    shape = turner.shape(ref)
    turns_itself = turner.settled.get(id(leaf)) == LAST or is_channels_first(leaf.config)
    if turns_itself and turner.settle(call, LAST):
        # It moved the channels last before it flattened: they are there already, and nothing is shuffled.
        leaf.config["data_format"] = "channels_last"
    if turns_itself:
        turner.emit(call, [turner.in_order(ref, LAST)])
        return SAME
    sizes = [size for size in shape[1:] if size is not None]
    if turner.number in turner.keep or None in shape[1:] or math.prod(sizes) > MAX_SHUFFLED:
        turner.emit(call, [turner.in_order(ref, SAME)])
        return SAME
    turner.emit(call, [turner.refs[ref]])
    index = np.arange(math.prod(sizes)).reshape(sizes[0], -1).T.ravel()
    return Shuffled(tuple(index.tolist()), frozenset([turner.number]))


def _dense(turner: Turner, call: Call) -> Order:
    order = turner.orders[call.inputs[0]]
    if not isinstance(order, Shuffled):
        new = turner.in_order(call.inputs[0], SAME)
        turner.settle(call, SAME)
    else:
        new = turner.refs[call.inputs[0]]
        if turner.settle(call, order):
            call.leaf.weights = [shuffled(call.leaf, call.leaf.weights[0], order), *call.leaf.weights[1:]]
    turner.emit(call, [new])
    return SAME


def _merge(turner: Turner, call: Call) -> Order:
    orders = [turner.orders[ref] for ref in call.inputs]
    if any(isinstance(order, Shuffled) for order in orders):
        indexes = {index_of(order) for order in orders}
        if len(indexes) > 1:
            raise MustNotShuffle(all_flattens(*orders))
        turner.emit(call, [turner.refs[ref] for ref in call.inputs])
        return Shuffled(indexes.pop(), all_flattens(*orders))
    ranks = {len(shape) if (shape := turner.shapes[ref[0]]) is not None else None for ref in call.inputs}
    wanted = LAST if LAST in orders and len(ranks) == 1 else SAME
    turner.emit(call, [turner.in_order(ref, wanted) for ref in call.inputs])
    return wanted


def _concatenate(turner: Turner, call: Call) -> Order:
    orders = [turner.orders[ref] for ref in call.inputs]
    if any(isinstance(order, Shuffled) for order in orders):
        return _joined(turner, call, orders)
    wanted = turner.settled.get(id(call.leaf)) or (LAST if LAST in orders else SAME)
    if turner.settle(call, wanted) and wanted == LAST:
        call.leaf.config["axis"] = _moved(turner, call.leaf.config.get("axis", -1), call.inputs[0])
    turner.emit(call, [turner.in_order(ref, str(wanted)) for ref in call.inputs])
    return wanted


def _joined(turner: Turner, call: Call, orders: list[Order]) -> Order:
    """Vectors side by side, each shuffled in itself."""
    index: list[int] = []
    for ref, order in zip(call.inputs, orders, strict=True):
        size = turner.shape(ref)[1]
        if size is None:
            raise MustNotShuffle(all_flattens(*orders))
        own = order.index if isinstance(order, Shuffled) else range(size)
        start = len(index)
        index += [start + number for number in own]
    turner.emit(call, [turner.refs[ref] for ref in call.inputs])
    return Shuffled(tuple(index), all_flattens(*orders))


def _other(turner: Turner, call: Call) -> Order:
    """A layer that is not known to work on another order gets the old one."""
    if says_channels_first(call.leaf.kind, call.leaf.config):
        raise turner.refused(call.leaf, "data_format: 'channels_first'")
    turner.emit(call, [turner.in_order(ref, SAME) for ref in call.inputs])
    return SAME


HANDLERS: Mapping[str, Handler] = {
    "InputLayer": _input,
    "Flatten": _flatten,
    "Dense": _dense,
    "Concatenate": _concatenate,
    "Softmax": _softmax,
    "BatchNormalization": _weighted,
    "PReLU": _weighted,
    "Rescaling": _rescaled,
    "TimeDistributed": _each_step,
    **dict.fromkeys(NORMALIZATIONS, _normalized),
    **dict.fromkeys(SPATIAL, _spatial),
    **dict.fromkeys(ELEMENTWISE, _passed),
    **dict.fromkeys(MERGES, _merge),
}
