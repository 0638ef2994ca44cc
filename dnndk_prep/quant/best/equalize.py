"""Channels between layers get scales of their own: what one layer multiplies, the next one divides by.

The vendor's equalization looks at chains of convolutions with a single reader. This one takes every tensor whose
readers all lead to constants that can divide: convolutions, dense layers and products with a constant, through
activations and pools that a positive factor passes through.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dnndk_prep.quant.network import Node, by_name, readers_of

# A positive factor of a channel passes through; Relu6 lets it through only as a Relu.
PASSED = ("Relu", "Relu6", "LeakyRelu", "MaxPool", "AvgPool", "Pad", "Identity", "Squeeze", "Reshape")
ADDS = ("BiasAdd", "Add", "AddV2")
ROUNDS = 10
LEAST, MOST = 1 / 64, 64.0
# The scale in the middle of powers of ranges: of the weights before, of the values between, of the weights behind.
Exponents = tuple[float, float, float]
KINDS: dict[str, Exponents] = {"weights": (0.5, 0.0, 0.5), "values": (0.0, 1.0, 0.0), "both": (0.25, 0.5, 0.25)}


@dataclass(frozen=True)
class Head:
    """Constants whose last axes are the channels of a tensor: weights, and what is added to their product."""

    weights: str
    shape: tuple[int, ...]
    added: tuple[str, ...]


@dataclass(frozen=True)
class Tail:
    """A constant that reads the channels on `axis`, each `repeats` times: once for each pixel of a flattened image."""

    weights: str
    axis: int
    repeats: int


@dataclass(frozen=True)
class Link:
    """A tensor between two layers whose channels may have any positive scale; `end` is what the readers see first."""

    end: str
    head: Head
    tails: tuple[Tail, ...]
    relu6: tuple[str, ...]


def links(nodes: Sequence[Node], ends: Collection[str]) -> list[Link]:
    """The tensors of a prepared graph whose channels may be scaled, in the order of their layers."""
    named, readers = by_name(nodes), readers_of(nodes)
    found = []
    for item in nodes:
        head = _head(item, named)
        if head is None:
            continue
        link = _forward(item, head, named, readers, ends)
        if link is not None:
            found.append(link)
    return found


def equalized(
    nodes: Sequence[Node], found: Iterable[Link], ranges: Mapping[str, np.ndarray], kind: str
) -> tuple[list[Node], list[str]]:
    """The nodes with equalized constants, and the ends that were changed; `ranges` are those of the links' channels.

    ranges: the greatest absolute value of each channel of a link's end. A Relu6 on the way becomes a Relu.
    """
    values = {item.name: item.value for item in nodes if item.value is not None}
    chosen = list(found)
    between = {link.end: np.asarray(ranges[link.end], np.float64) for link in chosen}
    for _ in range(ROUNDS):
        for link in chosen:
            scale = _scale(link, values, between[link.end], KINDS[kind])
            between[link.end] = between[link.end] * scale
            _apply(link, values, scale)
    relus = {name for link in chosen for name in link.relu6}
    result = [replace(item, op="Relu") if item.name in relus else item for item in nodes]
    return [item if item.value is None else item.holding(values[item.name]) for item in result], sorted(between)


def _head(item: Node, named: Mapping[str, Node]) -> Head | None:
    """A layer whose output channels its weights decide."""
    if item.op not in ("Conv2D", "DepthwiseConv2dNative", "MatMul", "Mul"):
        return None
    value = named[item.sources[1]].value if len(item.inputs) > 1 and item.sources[1] in named else None
    if value is None or (item.op == "MatMul" and item.attrs["transpose_b"].b):
        return None
    if item.op == "Mul" and (value.ndim != 1 or value.size == 1):
        return None
    return Head(item.sources[1], value.shape, ())


def _forward(
    layer: Node,
    head: Head,
    named: Mapping[str, Node],
    readers: Mapping[str, list[Node]],
    ends: Collection[str],
) -> Link | None:
    """From the layer to constants that divide; None where some reader has none."""
    channels = head.shape[-1] if layer.op != "DepthwiseConv2dNative" else head.shape[2] * head.shape[3]
    current, added = layer, head.added
    if current.name in ends:
        return None
    following = readers.get(layer.name, [])
    if len(following) == 1 and following[0].op in ADDS:
        bias = named[following[0].sources[1]].value
        if bias is not None and bias.size == channels:
            current, added = following[0], (following[0].sources[1],)
    tails: list[Tail] = []
    relu6: list[str] = []
    waiting, end = [current], current.name
    while waiting:
        item = waiting.pop(0)
        if item.name in ends:
            return None
        for reader in readers.get(item.name, []):
            if reader.op in PASSED and reader.sources[0] == item.name:
                relu6 += [reader.name] * (reader.op == "Relu6")
                waiting.append(reader)
                end = reader.name if reader.op in ("Relu", "Relu6", "LeakyRelu") and item is current else end
                continue
            if reader.op == "Mul" and _is_scalar(reader, named):
                waiting.append(reader)
                continue
            tail = _tail(reader, item.name, channels, named)
            if tail is None:
                return None
            tails.append(tail)
    if not tails or len({tail.weights for tail in tails}) < len(tails):
        return None
    return Link(end, Head(head.weights, head.shape, added), tuple(tails), tuple(relu6))


def _is_scalar(item: Node, named: Mapping[str, Node]) -> bool:
    value = named[item.sources[1]].value
    return value is not None and value.size == 1 and bool((value > 0).all())


def _tail(reader: Node, source: str, channels: int, named: Mapping[str, Node]) -> Tail | None:
    if reader.sources[0] != source or len(reader.inputs) < 2:
        return None
    value = named[reader.sources[1]].value
    if value is None:
        return None
    axes = {"Conv2D": 2, "DepthwiseConv2dNative": 2, "MatMul": 0, "Mul": 0}
    axis = axes.get(reader.op)
    if axis is None or (reader.op == "MatMul" and (reader.attrs["transpose_b"].b or reader.attrs["transpose_a"].b)):
        return None
    size = value.shape[axis] if value.ndim > axis else 0
    if reader.op == "MatMul" and size and size % channels == 0:
        return Tail(reader.sources[1], axis, size // channels)
    return Tail(reader.sources[1], axis, 1) if size == channels else None


def _per_channel(value: np.ndarray, axis: int, repeats: int) -> np.ndarray:
    """The greatest absolute value of each channel."""
    ranges = np.abs(value).max(axis=tuple(i for i in range(value.ndim) if i != axis)).astype(np.float64)
    return ranges.reshape(repeats, -1).max(axis=0)


def _scale(link: Link, values: Mapping[str, np.ndarray], between: np.ndarray, powers: Exponents) -> np.ndarray:
    """What each channel is multiplied with; one where a range is zero."""
    weights = np.abs(values[link.head.weights])
    before = weights.reshape(-1, between.size).max(axis=0).astype(np.float64)
    behind = np.max([_per_channel(values[tail.weights], tail.axis, tail.repeats) for tail in link.tails], axis=0)
    parts = [_normal(before) ** -powers[0], _normal(between) ** -powers[1], _normal(behind) ** powers[2]]
    scale = np.clip(np.prod(parts, axis=0), LEAST, MOST)
    return np.where((before > 0) & (behind > 0) & (between > 0), scale, 1.0)


def _normal(ranges: np.ndarray) -> np.ndarray:
    """Relative to the greatest: what all channels have in common changes nothing. Never zero."""
    return np.maximum(ranges / max(float(ranges.max()), 1e-30), 1e-6)


def _apply(link: Link, values: dict[str, np.ndarray], scale: np.ndarray) -> None:
    single = scale.astype(np.float32)
    weights = values[link.head.weights]
    values[link.head.weights] = (weights.reshape(-1, single.size) * single).reshape(weights.shape)
    for name in link.head.added:
        values[name] = (values[name].reshape(-1) * single).reshape(values[name].shape)
    for tail in link.tails:
        shape = [1] * values[tail.weights].ndim
        shape[tail.axis] = -1
        values[tail.weights] = values[tail.weights] / np.tile(single, tail.repeats).reshape(shape)
