"""Masks in an architecture of Keras 3: those that Keras 2 computes by itself go, those that the model computes stay.

Keras 3 writes both alike, as operations whose tensor a call takes as `mask`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dnndk_prep.keras_io.architecture import is_operation, tensors_in
from dnndk_prep.keras_io.ops import Config, is_tensor

# What Keras 3 computes masks by: an Embedding's, a Masking's, and those of layers that merge.
AUTOMATIC = ("NotEqual", "Any", "LogicalOr", "ExpandDims", "ZerosLike", "Concatenate")
MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot")
Tensor = tuple[str, int, int]


def without_masks(layer: Config) -> Config:
    """`layer` without the masks that its own layers hand on, and the operations that compute nothing else.

    In nested models, too. A mask that the model computes itself, such as LSTM(x, mask=ops.sum(y) > 0), stays.
    """
    config = layer.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        return layer
    layers = [without_masks(member) for member in config["layers"]]
    # Keras 2 writes lists here, and no masks.
    if not any(isinstance(node, list) for member in layers for node in member.get("inbound_nodes", [])):
        members = {str(member.get("name")): member for member in layers}
        layers = [_without_automatic(member, members) for member in layers]
        ends = {name for name, *_ in tensors_in(config.get("output_layers"))}
        while idle := {m["name"] for m in layers if is_operation(m)} - ends - _read(layers):
            layers = [member for member in layers if member.get("name") not in idle]
    return {**layer, "config": {**config, "layers": layers}}


def _without_automatic(layer: Config, members: Mapping[str, Config]) -> Config:
    nodes = []
    for node in layer.get("inbound_nodes", []):
        if isinstance(node, dict) and _is_automatic(node, members):
            node = {**node, "kwargs": {key: value for key, value in node["kwargs"].items() if key != "mask"}}
        nodes.append(node)
    return {**layer, "inbound_nodes": nodes} if nodes else layer


def _is_automatic(node: Config, members: Mapping[str, Config]) -> bool:
    """Whether the call's mask comes from the same layers as its tensors do: then both Kerases find it by themselves."""
    masks = [tensor for tensor in tensors_in(node["kwargs"].get("mask")) if tensor[0] in members]
    if not masks:
        return False
    roots: set[Tensor] = set()
    for mask in masks:
        found = _compared(mask, members)
        if found is None:
            return False
        roots |= found
    tensors = [*tensors_in(node["args"])] or [*tensors_in({k: v for k, v in node["kwargs"].items() if k != "mask"})]
    return roots == {root for tensor in tensors for root in _masked(tensor, members)}


def _compared(mask: Tensor, members: Mapping[str, Config]) -> set[Tensor] | None:
    """The tensors that `mask` compares with a number; None if it is computed otherwise than Keras computes masks."""
    layer = members.get(mask[0])
    if layer is None or not is_operation(layer) or layer["class_name"] not in AUTOMATIC:
        return None
    node = layer["inbound_nodes"][mask[1]]
    if layer["class_name"] == "NotEqual":
        first, number = (*node["args"], *node["kwargs"].values())[:2]
        return {next(tensors_in(first))} if is_tensor(first) and _is_masked_at(first, number, members) else None
    result: set[Tensor] = set()
    # ZerosLike gives the shape of a merged tensor, not a mask.
    for tensor in () if layer["class_name"] == "ZerosLike" else tensors_in([node["args"], node["kwargs"]]):
        found = _compared(tensor, members)
        if found is None:
            return None
        result |= found
    return result


def _is_masked_at(value: Config, number: Any, members: Mapping[str, Config]) -> bool:
    """Whether an Embedding or a Masking of the model masks the tensor where it is `number`."""
    wanted = next(tensors_in(value))
    return any(
        _mask_value(layer) == number and any(wanted in tensors_in(node["args"]) for node in layer["inbound_nodes"])
        for layer in members.values()
        if _mask_value(layer) is not None
    )


def _mask_value(layer: Config) -> Any:
    if layer.get("class_name") == "Embedding":
        return 0 if layer["config"].get("mask_zero") else None
    return layer["config"].get("mask_value") if layer.get("class_name") == "Masking" else None


def _masked(tensor: Tensor, members: Mapping[str, Config]) -> Iterator[Tensor]:
    """The tensors whose masks reach `tensor` through layers; an operation hands none on."""
    seen, waiting = set(), [tensor]
    while waiting:
        name, call, _ = waiting.pop()
        layer = members.get(name)
        if layer is None or is_operation(layer) or (name, call) in seen or not layer.get("inbound_nodes"):
            continue
        seen.add((name, call))
        inputs = list(tensors_in(layer["inbound_nodes"][call]["args"]))
        if _mask_value(layer) is not None:
            yield from inputs[:1]
        else:
            waiting += inputs if layer["class_name"] in MERGES else inputs[:1]


def _read(layers: list[Config]) -> set[str]:
    nodes = [node for layer in layers for node in layer.get("inbound_nodes", []) if isinstance(node, dict)]
    return {name for name, *_ in tensors_in([[node["args"], node["kwargs"]] for node in nodes])}
