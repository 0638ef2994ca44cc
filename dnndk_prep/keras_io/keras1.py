"""A Keras 1 architecture as a Keras 2 one: pure functions on config dicts, driven by tables of classes and keys.

What only training uses (initializers, regularizers, constraints) is left out. Any other key is renamed, or must hold
the one value whose meaning Keras 2 has; everything else is an error that names layer, key and value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dnndk_prep.errors import ModelFileError, UnsafeFileError
from dnndk_prep.keras_io.architecture import Config, expect_complete, layers_of
from dnndk_prep.keras_io.keras1_rules import (
    ACTIVATIONS,
    DATA_FORMATS,
    FLATTENED,
    IMPLEMENTATIONS,
    MERGE_EMPTY,
    MERGE_FUNCTIONS,
    MERGE_IDLE,
    MERGES,
    MODELS,
    OF_INPUT,
    RULES,
    TRAINING,
    UNTOLD,
    Rule,
)


def is_keras1(architecture: Config, version: str) -> bool:
    """Whether Keras 1 wrote the architecture: by the version in the file, or by words that only Keras 1 has."""
    if version.split(".")[0] in ("0", "1"):
        return True
    only = (set(RULES) - {rule.kind for rule in RULES.values()}) | {"Merge", "MaxoutDense", "Highway"}
    words = {"border_mode", "dim_ordering", "nb_filter", "W_regularizer", "input_dtype", "subsample", "consume_less"}
    return any(
        layer.get("class_name") in only or (isinstance(layer.get("config"), dict) and words & set(layer["config"]))
        for layer in layers_of(architecture)
    )


def keras1_to_keras2(architecture: Config, file: str) -> Config:
    """The architecture (a dict with class_name and config) as Keras 2 reads it; nested models stay nested.

    Raises ModelFileError that lists all layers which Keras 2 lacks, or names layer, key and value of a setting it
    lacks; UnsafeFileError for a Merge that holds a function.
    """
    with expect_complete(file):
        found = list(_layers(architecture))
        _refuse_functions(found, file)
        _refuse_unknown(found, file)
        _tell_order(result := _model(architecture), file)
        return result


def _layers(layer: Config) -> Iterator[Config]:
    """The layer and all inside it, those of a Merge's branches, too."""
    for inner in layers_of(layer):
        yield inner
        if inner["class_name"] == "Merge":
            for branch in inner["config"].get("layers") or []:
                yield from _layers(branch)


def _refuse_functions(layers: list[Config], file: str) -> None:
    found = [
        f"{layer['config'].get('name')}: {key} {layer['config'][key]}"
        for layer in layers
        if layer["class_name"] == "Merge"
        for key in MERGE_FUNCTIONS
        if layer["config"].get(key, "raw") != "raw"
    ]
    if found:
        raise UnsafeFileError(
            f"{file} holds code that would run when it is opened",
            expected="Merge layers with a mode of Keras' own",
            found="; ".join(found),
            remedy=f"use one of {', '.join(MERGES)}, and save the model again",
        )


def _refuse_unknown(layers: list[Config], file: str) -> None:
    known = {*RULES, *MODELS, "Merge"}
    found = [f"{_name(layer)}: {layer['class_name']}" for layer in layers if layer["class_name"] not in known]
    for layer in layers:
        mode = layer["config"].get("mode", "sum") if layer["class_name"] == "Merge" else "sum"
        if mode not in MERGES:
            found.append(f"{_name(layer)}: Merge with mode {mode!r}")
    if found:
        raise ModelFileError(
            f"{file} holds {len(found)} layer(s) of Keras 1 that Keras 2 does not have",
            expected="layers that Keras 1 and Keras 2 share",
            found="; ".join(dict.fromkeys(found)),
            remedy="replace them by such layers in Keras 1, and save the model again",
        )


def _tell_order(architecture: Config, file: str) -> None:
    """Give padding, cropping and upsampling layers the order of the others: Keras 1 does not write theirs."""
    configs = [layer["config"] for layer in layers_of(architecture) if isinstance(layer["config"], dict)]
    told = {config["data_format"] for config in configs if config.get("data_format")}
    for layer in layers_of(architecture):
        if layer["class_name"] not in UNTOLD or "data_format" in layer["config"]:
            continue
        if len(told) != 1:
            raise ModelFileError(
                f"{file} does not tell the order of axes for the layer {layer['config'].get('name')!r}",
                expected="one dim_ordering in all other layers of the model, for Keras 1 does not write this layer's",
                found=", ".join(sorted(told)) or "none",
                remedy="build the model with one dim_ordering, and save it again",
            )
        layer["config"]["data_format"] = next(iter(told))


def _name(layer: Config) -> str:
    config = layer["config"]
    return layer.get("name") or (config.get("name") if isinstance(config, dict) else None) or "unnamed"


def _model(model: Config) -> Config:
    config = model["config"]
    if model["class_name"] == "Sequential":
        layers = config if isinstance(config, list) else config["layers"]
        name = model.get("name") or (config.get("name") if isinstance(config, dict) else None)
        if layers[0]["class_name"] == "Merge":
            return _after_merge(layers, name or "model")
        members = [*_input_of(layers[0]), *map(_layer, layers)]
        result: Config = {"class_name": "Sequential", "config": {"layers": members}}
    else:
        name = model.get("name") or config.get("name")
        ends = {key: config[key] for key in ("input_layers", "output_layers")}
        members = []
        for layer in config["layers"]:
            nodes = [[[*tensor, {}] for tensor in node] for node in layer["inbound_nodes"]]
            members.append({**_layer(layer), "name": layer["name"], "inbound_nodes": nodes})
        result = {"class_name": "Functional", "config": {"layers": members, **ends}}
    if name:
        result["config"]["name"] = name
    return result


def _after_merge(layers: list[Config], name: str) -> Config:
    """A Sequential that begins with a Merge of models, as a functional model: each branch a nested model."""
    members: list[Config] = []
    ends, inputs = [], []
    for place, branch in enumerate(layers[0]["config"]["layers"]):
        inner = _model(branch) if branch["class_name"] in MODELS else _model({**branch, "config": [branch]})
        title = inner["config"].setdefault("name", f"{name}_branch_{place + 1}")
        inner["config"][FLATTENED] = True
        entries = _inputs_of(inner)
        members += [{**entry, "name": entry["config"]["name"], "inbound_nodes": []} for entry in entries]
        tensors = [[entry["config"]["name"], 0, 0, {}] for entry in entries]
        # The call that made a model with inputs of its own is number 0.
        members.append({**inner, "name": title, "inbound_nodes": [tensors]})
        inputs += [tensor[:3] for tensor in tensors]
        ends.append([title, 1, 0, {}])
    for layer in layers:
        new = _layer(layer)
        title = new["config"].setdefault("name", f"{name}_{len(members)}")
        members.append({**new, "name": title, "inbound_nodes": [ends]})
        ends = [[title, 1 if layer["class_name"] in MODELS else 0, 0, {}]]
    settings = {"name": name, "layers": members, "input_layers": inputs, "output_layers": [ends[0][:3]]}
    return {"class_name": "Functional", "config": settings}


def _inputs_of(model: Config) -> list[Config]:
    """The input layers of a converted model, under names that the model around it can use."""
    layers = model["config"]["layers"]
    if model["class_name"] == "Functional":
        by_name = {layer["name"]: layer for layer in layers}
        found = [by_name[name] for name, *_ in model["config"]["input_layers"]]
    else:
        found = layers[:1] if layers[0]["class_name"] == "InputLayer" else _inputs_of(layers[0])
    return [{"class_name": "InputLayer", "config": dict(layer["config"])} for layer in found]


def _input_of(first: Config) -> list[Config]:
    """The input layer that Keras 1 makes for a Sequential from what its first layer tells; none for a model."""
    config = first["config"]
    if first["class_name"] in ("InputLayer", *MODELS):
        return []
    shape, dtype = config["batch_input_shape"], config.get("input_dtype") or "float32"
    name = f"{config['name']}_input"
    return [{"class_name": "InputLayer", "config": {"batch_input_shape": shape, "dtype": dtype, "name": name}}]


def _layer(layer: Config) -> Config:
    kind, config = layer["class_name"], layer["config"]
    if kind in MODELS:
        return _model(layer)
    rule = MERGES[config.get("mode", "sum")] if kind == "Merge" else RULES[kind]
    return {"class_name": rule.kind, "config": dict(_settings(kind, rule, config))}


def _settings(kind: str, rule: Rule, config: Config) -> Iterator[tuple[str, Any]]:
    name = config.get("name", kind)
    joined = {old: new for new, keys in rule.joined.items() for old in keys}
    for key, value in config.items():
        if key in ("name", "trainable"):
            yield key, value
        elif key in rule.keys:
            if value is not None or key == "shared_axes":
                yield rule.keys[key], _value(name, kind, key, value)
        elif key in rule.fixed or (kind == "Merge" and key in MERGE_EMPTY):
            wanted = rule.fixed[key] if key in rule.fixed else MERGE_EMPTY[key]
            if value != wanted:
                raise _no_form(name, key, value)
        elif not (key in TRAINING or key in OF_INPUT or key in joined or _is_idle(kind, key)):
            raise _no_form(name, key, value)
    for new, keys in rule.joined.items():
        yield new, [config[key] for key in keys]
    yield from rule.added.items()


def _is_idle(kind: str, key: str) -> bool:
    if kind == "Merge":
        return key in MERGE_IDLE or key == "layers"
    # Dropout has no effect outside training.
    return kind == "Embedding" and key == "dropout"


def _value(name: str, kind: str, key: str, value: Any) -> Any:
    if key in TRANSLATED:
        return TRANSLATED[key](name, key, value)
    if key == "layer":
        return _layer(value)
    if key == "padding":
        return _padding(name, kind, value)
    if key == "shared_axes":
        return None if value in (None, [None]) else value
    return value


def _one_of(table: Mapping[str, Any]) -> Callable[[str, str, Any], Any]:
    def translate(name: str, key: str, value: Any) -> Any:
        if not isinstance(value, str) or value not in table:
            raise _no_form(name, key, value)
        return table[value]

    return translate


TRANSLATED: Mapping[str, Callable[[str, str, Any], Any]] = {
    "activation": _one_of({name: name for name in ACTIVATIONS}),
    "inner_activation": _one_of({name: name for name in ACTIVATIONS}),
    "dim_ordering": _one_of(DATA_FORMATS),
    # Theano also had "full".
    "border_mode": _one_of({"valid": "valid", "same": "same"}),
    "consume_less": _one_of(IMPLEMENTATIONS),
}


def _padding(name: str, kind: str, value: Any) -> Any:
    """Keras 1 takes one number an axis, or all sides in a row or by name; Keras 2 takes a pair an axis."""
    rank = int(kind[-2])
    if isinstance(value, dict):
        sides = ("left_pad", "right_pad") if rank == 1 else ("top_pad", "bottom_pad", "left_pad", "right_pad")
        if rank == 3 or not set(value) <= set(sides):
            raise _no_form(name, "padding", value)
        value = [value.get(side, 0) for side in sides]
    numbers = [value] if isinstance(value, int) else list(value)
    if not all(isinstance(number, int) for number in numbers) or len(numbers) not in (rank, 2 * rank):
        raise _no_form(name, "padding", value)
    if len(numbers) == rank:
        numbers = [number for number in numbers for _ in range(2)]
    pairs = [numbers[2 * axis : 2 * axis + 2] for axis in range(rank)]
    return pairs[0] if rank == 1 else pairs


def _no_form(name: str, key: str, value: Any) -> ModelFileError:
    return ModelFileError(
        f"the layer {name!r} has a setting that Keras 2 does not have",
        expected="settings that Keras 1 and Keras 2 share",
        found=f"{key}: {value!r}",
        remedy=f"build the model without {key} in {name!r} in Keras 1, and save it again",
    )
