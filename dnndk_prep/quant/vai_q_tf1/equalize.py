"""Cross-layer equalization (--do_cle): each channel between two layers gets equal ranges on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dnndk_prep.quant.network import Node, by_name, readers_of

ROUNDS = 10
LEAST, MOST = np.float32(0.01), np.float32(100)
# Channels whose ranges make less than this together stay as they are.
THRESHOLD = np.float32(0.5)
LAYERS = ("Conv2D", "DepthwiseConv2dNative")
PASSED = ("Relu6", "Relu", "AvgPool", "MaxPool", "Mul", "Pad")
ADDS = ("BiasAdd", "Add", "AddV2")


@dataclass(frozen=True)
class Layer:
    """A convolution, and the node that adds its bias, if there is one."""

    conv: Node
    add: Node | None


def equalized(
    nodes: Sequence[Node], inputs: Sequence[str], outputs: Sequence[str], replace_relu6: bool, notes: list[str]
) -> list[Node]:
    """The nodes with equalized weights and biases; Relu6 becomes Relu first, if that is wanted.

    `notes` gets a sentence for each pair that the quantizer stops at; it is left out.
    """
    current = [replace(item, op="Relu") if replace_relu6 and item.op == "Relu6" else item for item in nodes]
    values = {item.name: item.value for item in current if item.value is not None}
    pairs = [(head, tail) for chain in chains(current, inputs, outputs) for head, tail in zip(chain, chain[1:])]  # noqa: B905, RUF007
    fitting = [pair for pair in pairs if _fits(*pair, values, notes)]
    for _ in range(ROUNDS):
        for head, tail in fitting:
            _equalize(head, tail, values)
    return [item if item.value is None else item.holding(values[item.name]) for item in current]


def chains(nodes: Sequence[Node], inputs: Sequence[str], outputs: Sequence[str]) -> list[list[Layer]]:
    """Layers that follow each other with nothing but activations and pools between them, and nobody else reading.

    From the outputs backwards, the way that was branched off last first, as the quantizer walks.
    """
    named, readers = by_name(nodes), readers_of(nodes)
    waiting, seen = list(outputs), set[str]()
    found: list[list[Layer]] = []
    chain: list[Layer] = []
    while waiting:
        current = named[waiting.pop()]
        goes_on = current.name not in inputs and current.name not in seen
        if current.name not in seen:
            layer = _layer(current, named)
            seen.add(current.name)
            if layer is not None:
                chain.append(layer)
                seen.add(layer.conv.name)
            goes_on = goes_on and (layer is not None or current.op in PASSED)
            goes_on = _look_behind(layer.conv if layer else current, readers, waiting, goes_on)
        if not goes_on:
            if len(chain) > 1:
                found.append(chain[::-1])
            chain = []
    return found[::-1]


def _layer(item: Node, named: dict[str, Node]) -> Layer | None:
    if item.op in LAYERS:
        return Layer(item, None)
    if item.op in ADDS and (conv := named[item.sources[0]]).op in LAYERS:
        return Layer(conv, item)
    return None


def _look_behind(item: Node, readers: dict[str, list[Node]], waiting: list[str], goes_on: bool) -> bool:
    """Put down what `item` reads; whether the chain goes on there."""
    if not item.inputs:
        return goes_on
    if not goes_on:
        # Other branches are looked at last.
        for name in item.sources:
            if name not in waiting:
                waiting.insert(0, name)
        return False
    source = item.sources[0]
    if source in waiting:
        return False
    waiting.append(source)
    return len(readers.get(source, ())) == 1


def _fits(head: Layer, tail: Layer, values: dict[str, np.ndarray], notes: list[str]) -> bool:
    constants = [head.conv.inputs[1], tail.conv.inputs[1], *([head.add.inputs[1]] if head.add else [])]
    if all(name in values for name in constants):
        shape, channels = values[constants[0]].shape, values[constants[1]].shape[2]
        out = shape[2] * shape[3] if head.conv.op == "DepthwiseConv2dNative" else shape[3]
        if out == channels and all(values[name].size == out for name in constants[2:]):
            return True
    notes.append(
        f"{head.conv.name}: vai_q_tensorflow stops at the equalization with {tail.conv.name}, "
        "whose channels are not those of this layer; both stay as they are"
    )
    return False


def _equalize(head: Layer, tail: Layer, values: dict[str, np.ndarray]) -> None:
    weights, following = values[head.conv.inputs[1]], values[tail.conv.inputs[1]]
    is_depthwise = head.conv.op == "DepthwiseConv2dNative"
    channels = following.shape[2]
    ranges = np.abs(weights).reshape(-1, channels).max(axis=0)
    if head.add is not None:
        ranges = np.maximum(ranges, np.abs(values[head.add.inputs[1]]).reshape(-1))
    wanted = np.abs(following).max(axis=(0, 1, 3))
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.sqrt(wanted / ranges)
    scale = np.where(scale < 0.01, LEAST, scale)
    scale = np.where(scale > 100, MOST, scale)
    scale = np.where(ranges + wanted < THRESHOLD, np.float32(1), scale).astype(np.float32)
    shape = weights.shape[2:] if is_depthwise else weights.shape[3:]
    values[head.conv.inputs[1]] = weights * scale.reshape(shape)
    if head.add is not None:
        bias = values[head.add.inputs[1]]
        values[head.add.inputs[1]] = (bias.reshape(-1) * scale).reshape(bias.shape)
    values[tail.conv.inputs[1]] = following / scale[:, None]
