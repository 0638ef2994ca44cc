"""A Keras 2 model as a flat list of calls of layers: nested models opened, so that single layers can be changed.

It is made from an architecture, changed, and written as the architecture of one functional model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.architecture import MODELS, Config
from dnndk_prep.keras_io.keras1_rules import FLATTENED

# (number of the call, number of the output)
Ref = tuple[int, int]


@dataclass
class Leaf:
    """A layer that is no model, under a name of its own in the whole graph."""

    name: str
    kind: str
    config: Config
    weights: list[np.ndarray] = field(default_factory=list)


@dataclass
class Call:
    """One call of a layer; an input layer is called with nothing."""

    leaf: Leaf
    inputs: list[Ref]
    kwargs: Config = field(default_factory=dict)


@dataclass
class Member:
    """A layer of a model as it was stored: a leaf, or a model with its members in their order."""

    name: str | None
    leaf: Leaf | None
    members: list[Member] = field(default_factory=list)
    is_trainable: bool = True
    is_flattened: bool = False


@dataclass
class LayerGraph:
    """Calls in an order in which each comes after those it reads. `root` is the model as it was stored."""

    name: str
    calls: list[Call]
    inputs: list[Ref]
    outputs: list[Ref]
    root: Member

    def leaves(self) -> list[Leaf]:
        """Each layer once, in the order of its first call."""
        return list({id(call.leaf): call.leaf for call in self.calls}.values())


def flatten(architecture: Config, file: str) -> LayerGraph:
    """The model with all models inside it opened; a layer's name gets that of its model where two share one.

    Raises ModelFileError for calls that take tensors by name, which only newer models have.
    """
    builder = _Builder(file, architecture)
    root = builder.member(architecture, None)
    outputs = builder.call(architecture, root, [])
    inputs = [(i, 0) for i, call in enumerate(builder.calls) if call.leaf.kind == "InputLayer"]
    inputs = _in_order(architecture, builder.calls, inputs)
    return LayerGraph(root.name or "model", builder.calls, inputs, outputs, root)


def to_architecture(graph: LayerGraph) -> Config:
    """The graph as one functional model of Keras 2."""
    places: dict[int, Ref] = {}
    counts: dict[int, int] = {}
    nodes: dict[int, list[Any]] = {}
    for number, call in enumerate(graph.calls):
        key = id(call.leaf)
        places[number] = (number, counts.get(key, 0))
        counts[key] = counts.get(key, 0) + 1
        node = [[*_end(graph, places, ref), call.kwargs] for ref in call.inputs]
        nodes.setdefault(key, [])
        if node:
            nodes[key].append(node)
    layers = [
        {
            "class_name": leaf.kind,
            # What has no such key is taken for an operation of Keras 3.
            "config": {**({} if leaf.kind == "InputLayer" else {"trainable": True}), **leaf.config, "name": leaf.name},
            "name": leaf.name,
            "inbound_nodes": nodes[id(leaf)],
        }
        for leaf in graph.leaves()
    ]
    config = {
        "name": graph.name,
        "layers": layers,
        "input_layers": [_end(graph, places, ref) for ref in graph.inputs],
        "output_layers": [_end(graph, places, ref) for ref in graph.outputs],
    }
    return {"class_name": "Functional", "config": config}


def _end(graph: LayerGraph, places: Mapping[int, Ref], ref: Ref) -> list[Any]:
    return [graph.calls[ref[0]].leaf.name, places[ref[0]][1], ref[1]]


def _in_order(architecture: Config, calls: list[Call], inputs: list[Ref]) -> list[Ref]:
    """The inputs as the model lists them, which need not be the order of its layers."""
    if architecture["class_name"] == "Sequential":
        return inputs
    order = [end[0] for end in _ends(architecture["config"]["input_layers"])]
    by_name = {calls[ref[0]].leaf.name: ref for ref in inputs}
    return [by_name[name] for name in order]


class _Builder:
    def __init__(self, file: str, architecture: Config) -> None:
        self.calls: list[Call] = []
        self._file = file
        # The outermost model's own layers keep their names.
        self._own = {_name(layer): layer for layer in _layers(architecture) if layer["class_name"] not in MODELS}
        self._names = {name for name in self._own if name}

    def member(self, layer: Config, around: str | None) -> Member:
        """The layer and all inside it, each leaf under a name of its own."""
        config = layer["config"]
        name = _name(layer)
        if layer["class_name"] not in MODELS:
            return Member(name, self._leaf(layer, name, around))
        members = [self.member(inner, name) for inner in _layers(layer)]
        settings = config if isinstance(config, dict) else {}
        is_flattened = bool(settings.get(FLATTENED))
        return Member(name, None, members, settings.get("trainable", True) is not False, is_flattened)

    def _leaf(self, layer: Config, name: str | None, around: str | None) -> Leaf:
        kind = layer["class_name"]
        unique = name or kind.lower()
        if name and self._own.get(name) is layer:
            return Leaf(name, kind, dict(layer["config"]))
        if unique in self._names and around:
            unique = f"{around}_{unique}"
        count = 0
        while unique in self._names:
            count += 1
            unique = f"{name or kind.lower()}_copy_{count}"
        self._names.add(unique)
        return Leaf(unique, kind, dict(layer["config"]))

    def call(self, layer: Config, member: Member, inputs: list[Ref], kwargs: Config | None = None) -> list[Ref]:
        """What `layer` gives for `inputs`; the outermost model has none and makes its own."""
        if member.leaf is not None:
            self.calls.append(Call(member.leaf, inputs, kwargs or {}))
            return [(len(self.calls) - 1, output) for output in range(8)]
        if layer["class_name"] == "Sequential":
            return self._call_sequential(layer, member, inputs)
        return self._call_functional(layer, member, inputs)

    def _call_sequential(self, layer: Config, member: Member, inputs: list[Ref]) -> list[Ref]:
        tensors = inputs
        for inner, inside in zip(_layers(layer), member.members, strict=True):
            if inner["class_name"] == "InputLayer":
                tensors = tensors or self.call(inner, inside, [])[:1]
                continue
            if not tensors and inside.leaf is not None:
                tensors = [self._input_for(inner)]
            tensors = self.call(inner, inside, tensors)
            tensors = tensors[:1] if inside.leaf is not None else tensors
        return tensors

    def _input_for(self, first: Config) -> Ref:
        """The input that Keras makes for a Sequential from what its first layer tells."""
        config = first["config"]
        name = f"{config['name']}_input"
        settings = {"batch_input_shape": config["batch_input_shape"], "dtype": config.get("dtype", "float32")}
        leaf = self._leaf({"class_name": "InputLayer", "config": {**settings, "name": name}}, name, None)
        self.calls.append(Call(leaf, []))
        return len(self.calls) - 1, 0

    def _call_functional(self, layer: Config, member: Member, inputs: list[Ref]) -> list[Ref]:
        config = layer["config"]
        entries = [(inner, inside) for inner, inside in zip(_layers(layer), member.members, strict=True)]
        known: dict[tuple[str, int], list[Ref]] = {}
        for (name, *_), ref in zip(_ends(config["input_layers"]), inputs, strict=bool(inputs)):
            known[name, 0] = [ref]
        waiting = [
            (inner, inside, node, place)
            for inner, inside in entries
            for place, node in self._nodes(layer, inner)
            if (inner["name"], place) not in known
        ]
        while waiting:
            ready = [item for item in waiting if all((t[0], t[1]) in known for t in item[2])]
            if not ready:
                raise KeyError(f"what {waiting[0][0]['name']} reads")
            # The first that is ready, as often as there is one: the order of the file where it is possible.
            inner, inside, node, place = ready[0]
            tensors = [known[t[0], t[1]][t[2]] for t in node]
            known[inner["name"], place] = self.call(inner, inside, tensors, self._kwargs(inner, node))
            waiting.remove(ready[0])
        return [known[name, place][output] for name, place, output in _ends(config["output_layers"])]

    def _nodes(self, model: Config, inner: Config) -> Iterator[tuple[int, list[Any]]]:
        """The calls of a member with their numbers; a model's own inputs counted as a call before them."""
        nodes = inner["inbound_nodes"]
        if not nodes and inner["class_name"] == "InputLayer":
            yield 0, []
        # Whether the call that made an inner model is counted shows in the numbers that others use.
        is_counted = inner["class_name"] in MODELS and len(nodes) in _used(model, inner["name"])
        for place, node in enumerate(nodes):
            yield place + is_counted, node if isinstance(node[0], list) else [node]

    def _kwargs(self, layer: Config, node: list[Any]) -> Config:
        kwargs = {key: value for tensor in node for key, value in (tensor[3] if len(tensor) > 3 else {}).items()}
        kwargs = {key: value for key, value in kwargs.items() if key not in ("training", "mask") and value is not None}
        if any(isinstance(value, list | dict) for value in kwargs.values()):
            raise ModelFileError(
                f"the layer {layer['name']!r} in {self._file} is called with tensors by name",
                expected="calls with positional tensors, in a model that must be turned to channels_last",
                found=f"{', '.join(kwargs)}",
                remedy="pass them in the list of inputs, or build the model with data_format='channels_last'",
            )
        return kwargs


def _name(layer: Config) -> str | None:
    config = layer["config"]
    return layer.get("name") or (config.get("name") if isinstance(config, dict) else None)


def _layers(model: Config) -> list[Config]:
    config = model["config"]
    return config if isinstance(config, list) else config["layers"]


def _used(model: Config, name: str) -> set[int]:
    """The numbers of calls of the member `name` that the model's other members and outputs read."""
    nodes = [node for inner in _layers(model) for node in inner["inbound_nodes"]]
    tensors = [tensor for node in nodes for tensor in (node if isinstance(node[0], list) else [node])]
    ends = _ends(model["config"]["output_layers"])
    return {tensor[1] for tensor in [*tensors, *ends] if tensor[0] == name}


def _ends(ends: Any) -> list[list[Any]]:
    if isinstance(ends, dict):
        return [list(end) for end in ends.values()]
    return [list(ends)] if len(ends) == 3 and isinstance(ends[0], str) else [list(end) for end in ends]
