"""A model as one functional model of layers that Keras 2.8 and 2.12 have themselves.

The quantizer for TensorFlow 2 misorders Sequential models and never ends on nested ones; neither is left here. What the
library's own layers compute is written in Keras' own ones, where these compute the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tf_keras

from dnndk_prep.errors import ModelFileError
from dnndk_prep.export.vitis_ai_tf2.plain_functions import (
    SLICING,
    TF_LAMBDA,
    Function,
    function_of,
    number_of,
    rescaling,
    with_number,
)
from dnndk_prep.export.vitis_ai_tf2.plain_tables import (
    ACTIVATIONS,
    AS_OPERATION,
    ENDS_WITH_ACTIVATION,
    LOSES_ACTIVATION,
    MERGES,
    NEWER_KEYS,
    NEWER_LAYERS,
    OLDER_KEYS,
    TRAINING_ENDS,
    UNARY,
    relu6,
)
from dnndk_prep.keras_io.architecture import MODELS, Config, expect_complete, layers_of
from dnndk_prep.keras_io.inference import keras2_architecture
from dnndk_prep.keras_io.keras2 import ACTIVATION_LAYERS
from dnndk_prep.keras_io.layer_graph import Call, LayerGraph, Leaf, Ref, flatten, to_architecture
from dnndk_prep.keras_io.load import KerasSource, open_hdf5
from dnndk_prep.keras_io.ops import OPERATION
from dnndk_prep.keras_io.precision import SINGLE, in_single_precision
from dnndk_prep.keras_io.stored_weights import Weights, give_weights, stored_groups


def plain_model(source: KerasSource, inputs: Sequence[str]) -> tuple[Config, dict[str, Weights]]:
    """The architecture, and the weights of each of its layers in Keras' order.

    inputs: the names of the model's input layers in the order that the result's inputs shall have. Raises
    ModelFileError that names every layer without a form in Keras 2.8.
    """
    config, old_names = keras2_architecture(source)
    config, _ = in_single_precision(config)
    new_names = {old: new for new, old in old_names.items()}
    with expect_complete(source.file):
        graph = flatten(_with_listed_ends(config), source.file)
        with open_hdf5(source.weights) as file:
            stored = stored_groups(file.get("model_weights", file))
        give_weights(graph, {new_names.get(name, name): found for name, found in stored.items()}, False, source.file)
        graph = _Writer(graph).written(source.file)
        order = [new_names.get(name, name) for name in inputs]
        graph.inputs.sort(key=lambda ref: order.index(graph.calls[ref[0]].leaf.name))
        architecture = to_architecture(graph)
    for layer in architecture["config"]["layers"]:
        if layer["class_name"] in (TF_LAMBDA, SLICING):
            # It takes its tensor alone, not a list of one.
            layer["inbound_nodes"] = [node[0] for node in layer["inbound_nodes"]]
    return architecture, {leaf.name: leaf.weights for leaf in graph.leaves()}


def _with_listed_ends(architecture: Config) -> Config:
    """Inputs and outputs in a dict as a list, in the order in which Keras flattens it: that of its keys."""
    config = architecture["config"]
    if not isinstance(config, dict):
        return architecture
    ends = {key: config[key] for key in ("input_layers", "output_layers") if isinstance(config.get(key), dict)}
    listed = {key: [value[name] for name in sorted(value)] for key, value in ends.items()}
    return {**architecture, "config": {**config, **listed}}


# What a layer's activation becomes where Keras 2.8 has no name for it: an operation, or a layer and its settings.
After = str | tuple[str, Config] | None


class _Writer:
    """One way through the calls of a graph; `refs` tells where what an old call gave is now."""

    def __init__(self, graph: LayerGraph) -> None:
        self._old = graph
        self._calls: list[Call] = []
        self._refs: dict[Ref, Ref] = {}
        self._names = {leaf.name for leaf in graph.leaves()}
        # Names of layers that others stand for; the last of these takes the name.
        self._given_up = {leaf.name for leaf in graph.leaves() if _is_replaced(leaf)}
        self._leaves: dict[int, Leaf] = {}
        self._problems: dict[str, None] = {}

    def written(self, file: str) -> LayerGraph:
        """The new graph. Raises ModelFileError that lists every layer without a form."""
        for number, call in enumerate(self._old.calls):
            inputs = [self._refs[ref] for ref in call.inputs]
            first, output = self._call(call, inputs)
            self._refs |= {(number, i): (first, output + i) for i in range(8)}
        if self._problems:
            raise ModelFileError(
                f"{file} holds {len(self._problems)} layer(s) that Keras 2.8 does not have",
                expected="layers of Keras' own that Keras 2.8 and 2.12 have",
                found="; ".join(self._problems),
                remedy="replace them by such layers and save again",
            )
        inputs, outputs = ([self._refs[ref] for ref in ends] for ends in (self._old.inputs, self._old.outputs))
        return LayerGraph(self._old.name, self._calls, inputs, outputs, self._old.root)

    def _call(self, call: Call, inputs: list[Ref]) -> Ref:
        leaf = call.leaf
        if leaf.kind == OPERATION:
            found = self._operation(leaf.name, leaf.config["op"], leaf.config["values"], inputs)
            if found is None:
                self._problems[f"{leaf.name}: the operation {leaf.config['op'].removeprefix('keras3_')}"] = None
            return found or (0, 0)
        if leaf.kind == "CustomScaleLayer":
            scaled = self._add(f"{leaf.name}_scaled", "Rescaling", rescaling(leaf.config["scale"]), inputs[1:])
            return self._add(leaf.name, "Add", {}, [inputs[0], scaled])
        after, name = _after(leaf), leaf.name
        if not _is_replaced(leaf):
            self._calls.append(Call(self._leaf(leaf), inputs, call.kwargs))
            inputs = [(len(self._calls) - 1, 0)]
            name = f"{leaf.name}_{after if isinstance(after, str) else after[0].lower()}" if after else name
        if isinstance(after, str):
            found = self._operation(name, after, {"x": {"tensor": 0}}, inputs)
            assert found is not None
            return found
        return self._add(name, *after, inputs) if after else inputs[0]

    def _leaf(self, leaf: Leaf) -> Leaf:
        """The layer in Keras 2.8's words, once for all its calls."""
        if id(leaf) not in self._leaves:
            for inner in layers_of({"class_name": leaf.kind, "config": leaf.config}):
                self._problems |= {f"{leaf.name}: {problem}": None for problem in _problems(inner)}
            kind, config = leaf.kind, _settings(leaf.kind, leaf.config)
            if kind == "Identity":
                kind, config = "Activation", {**config, "activation": "linear"}
            if _after(leaf):
                config["activation"] = "linear"
            weights = leaf.weights
            if kind == "BatchNormalization" and config.get("center") is False:
                # The quantizer looks for the offset in any case: one of zeros, before mean and variance.
                config, weights = {**config, "center": True}, [*weights]
                weights.insert(-2, np.zeros_like(weights[-1]))
            self._leaves[id(leaf)] = Leaf(leaf.name, kind, config, weights)
        return self._leaves[id(leaf)]

    def _operation(self, name: str, op: str, values: Config, inputs: list[Ref]) -> Ref | None:
        """The layers of an operation between layers; None where Keras 2.8 has none for it."""
        if op in UNARY and isinstance(values.get("x"), dict) and "tensor" in values["x"]:
            layers = UNARY[op](values)
            ref = inputs[values["x"]["tensor"]]
            for number, (kind, config) in enumerate(layers or [], 1):
                ref = self._add(name if number == len(layers or []) else f"{name}_{number}", kind, config, [ref])
            if layers:
                return ref
        if (function := function_of(op, values)) is not None:
            return self._function(name, function, inputs[0])
        if op in ("hard_sigmoid", "hard_silu"):
            gate = self._hard_sigmoid(name if op == "hard_sigmoid" else f"{name}_gate", inputs[0])
            return gate if op == "hard_sigmoid" else self._add(name, "Multiply", {}, [inputs[0], gate])
        if op == "mish":
            soft = self._add(f"{name}_softplus", "Activation", {"activation": "softplus"}, [inputs[0]])
            gate = self._add(f"{name}_tanh", "Activation", {"activation": "tanh"}, [soft])
            return self._add(name, "Multiply", {}, [inputs[0], gate])
        if op == "square":
            return self._add(name, "Multiply", {}, [inputs[0], inputs[0]])
        if op in ("concatenate", "add_n"):
            return self._joined(name, op, values, inputs)
        return self._binary(name, op.removeprefix("keras3_"), values, inputs)

    def _hard_sigmoid(self, name: str, ref: Ref) -> Ref:
        """In the operations of Keras 2's MobileNetV3, which the quantizer knows as a hard sigmoid of the DPU."""
        three = self._function(f"{name}_add", (TF_LAMBDA, "__operators__.add", {"y": 3.0}), ref)
        [(kind, config)] = relu6({})
        six = self._add(f"{name}_relu6", kind, config, [three])
        return self._function(name, (TF_LAMBDA, "math.multiply", {"y": 1.0 / 6.0}), six)

    def _function(self, name: str, function: Function, ref: Ref) -> Ref:
        kind, called, arguments = function
        leaf = Leaf(self._own(name), kind, {"dtype": SINGLE, "function": called})
        self._calls.append(Call(leaf, [ref], {**arguments, **({"name": None} if kind == TF_LAMBDA else {})}))
        return len(self._calls) - 1, 0

    def _joined(self, name: str, op: str, values: Config, inputs: list[Ref]) -> Ref | None:
        tensors = [value.get("tensor") if isinstance(value, dict) else None for value in values["tensors"]]
        refs = [inputs[number] for number in tensors if number is not None]
        # Along the batch no layer joins.
        if len(refs) != len(tensors) or values.get("axis") == 0:
            return None
        if op == "add_n":
            return self._add(name, "Add", {}, refs)
        return self._add(name, "Concatenate", {"axis": values["axis"]}, refs)

    def _binary(self, name: str, op: str, values: Config, inputs: list[Ref]) -> Ref | None:
        a, b = values.get("a"), values.get("b")
        tensors = [inputs[value["tensor"]] for value in (a, b) if isinstance(value, dict) and "tensor" in value]
        if op == "divide" and tensors and isinstance(b, dict) and "tensor" in b:
            # Keras has no layer that divides.
            below = self._function(f"{name}_inverse", (TF_LAMBDA, "math.reciprocal", {}), tensors[-1])
            op, b, tensors = "multiply", {"tensor": -1}, [*tensors[:-1], below]
        if len(tensors) == 2:
            return self._add(name, MERGES[op], {}, tensors) if op in MERGES and set(values) == {"a", "b"} else None
        is_first = isinstance(a, dict) and "tensor" in a
        number = number_of(b if is_first else a)
        if number is None or not tensors:
            return None
        layer = with_number(op, number, is_first)
        return None if layer is None else self._add(name, *layer, tensors)

    def _add(self, name: str, kind: str, config: Config, inputs: list[Ref]) -> Ref:
        self._calls.append(Call(Leaf(self._own(name), kind, {**config, "dtype": SINGLE}), inputs))
        return len(self._calls) - 1, 0

    def _own(self, name: str) -> str:
        """The name itself for the last layer that stands for an old one; a free one for layers beside it."""
        if name not in self._given_up:
            return self._free(name)
        self._given_up.remove(name)
        return name

    def _free(self, name: str) -> str:
        while name in self._names:
            name += "_1"
        self._names.add(name)
        return name


def _after(leaf: Leaf) -> After:
    chosen = leaf.config.get("activation")
    if isinstance(chosen, str):
        if leaf.kind in LOSES_ACTIVATION and ACTIVATIONS.get(chosen, "linear") != "linear":
            return "Activation", {"activation": ACTIVATIONS[chosen]}
        return AS_OPERATION.get(chosen)
    if not isinstance(chosen, dict):
        return None
    kind = chosen["class_name"]
    settings = _settings(kind, chosen["config"])
    return kind, {key: value for key, value in settings.items() if key not in ("name", "trainable")}


def _is_replaced(leaf: Leaf) -> bool:
    """Whether other layers do all that it does."""
    is_activation = leaf.kind == "Activation" and _after(leaf) is not None
    return leaf.kind in (OPERATION, "CustomScaleLayer") or is_activation


def _settings(kind: str, config: Config) -> Config:
    """The settings without those that Keras 2.8 needs not be told or that only training knows."""
    dropped = {**NEWER_KEYS.get(kind, {}), **OLDER_KEYS.get(kind, {})}
    result: Config = {}
    for key, value in config.items():
        if (key in dropped and value == dropped[key]) or key.endswith(TRAINING_ENDS):
            continue
        if _is_without_effect(key, config):
            continue
        if key in ("activation", "recurrent_activation") and isinstance(value, str):
            value = ACTIVATIONS.get(value, value)
        if key == "dtype" and isinstance(value, dict):
            value = value["config"]["name"]
        if isinstance(value, dict) and isinstance(value.get("config"), dict) and "class_name" in value:
            value = {**value, "config": _settings(value["class_name"], value["config"])}
        result[key] = value
    return result


def _problems(layer: Config) -> list[str]:
    """Why Keras 2.8 cannot have the layer with these settings, in words."""
    kind, config = layer["class_name"], layer["config"]
    if kind in MODELS:
        return ["a model inside a layer"]
    if kind in NEWER_LAYERS or not isinstance(getattr(tf_keras.layers, kind, None), type):
        return [kind]
    newer = NEWER_KEYS.get(kind, {})
    found = [
        f"{key}: {config[key]!r}"
        for key, value in newer.items()
        if key in config and config[key] != value and not _is_without_effect(key, config)
    ]
    return found + [
        f"{key}: {config[key]!r}"
        for key in ("activation", "recurrent_activation")
        if not _is_known_activation(kind, key, config.get(key))
    ]


def _is_known_activation(kind: str, key: str, value: Any) -> bool:
    if value is None or (isinstance(value, str) and value in ACTIVATIONS):
        return True
    may_follow = key == "activation" and kind in ENDS_WITH_ACTIVATION
    is_layer = isinstance(value, dict) and value.get("class_name") in ACTIVATION_LAYERS
    return may_follow and (is_layer or (isinstance(value, str) and value in AS_OPERATION))


def _is_without_effect(key: str, config: Config) -> bool:
    return key == "half_pixel_centers" and config.get("interpolation") != "bilinear"
