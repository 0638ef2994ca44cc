"""Layer names that TensorFlow 1 takes as names of nodes: Keras 3 allows spaces and any other characters in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from dnndk_prep.keras_io.architecture import INNER_LAYERS
from dnndk_prep.keras_io.ops import CONSTANT, Config

# What TensorFlow takes at the root of a graph: framework/ops.py, _VALID_SCOPE_NAME_REGEX and _VALID_OP_NAME_REGEX.
INVALID = re.compile(r"[^A-Za-z0-9_.\\/-]")
FIRST = re.compile(r"[A-Za-z0-9.]")


def with_valid_names(model: Config) -> tuple[Config, dict[str, str]]:
    """A Keras 2 architecture whose names are valid and unique in each model, and what its own layers were called.

    The mapping is from new to old names, of the layers that changed; it leaves out those of nested models.
    """
    result, renamed = _model(model)
    return result, {new: old for old, new in renamed.items()}


def valid_name(name: str) -> str:
    """`name` with _ for each character that TensorFlow does not take."""
    text = INVALID.sub("_", name)
    return text if FIRST.match(text) else f"layer{text}"


def _model(model: Config) -> tuple[Config, dict[str, str]]:
    config = model["config"]
    if isinstance(config, list):
        layers, renamed = _members(config)
        return {**model, "config": layers}, renamed
    layers, renamed = _members(config["layers"])
    result = {**config, "layers": layers}
    if isinstance(config.get("name"), str):
        result["name"] = valid_name(config["name"])
    for key in ("input_layers", "output_layers"):
        if key in config:
            result[key] = _references(config[key], lambda name: renamed.get(name, name))
    return {**model, "config": result}, renamed


def _members(layers: list[Config]) -> tuple[list[Config], dict[str, str]]:
    renamed = _new_names([layer["config"]["name"] for layer in layers if _is_named(layer)])
    return [_member(layer, renamed) for layer in layers], renamed


def _member(layer: Config, renamed: dict[str, str]) -> Config:
    result = dict(layer)
    if _is_model(layer):
        result, _ = _model(layer)
    elif isinstance(layer["config"], dict):
        result["config"] = _with_valid_parts(layer["config"])
    if _is_named(layer):
        name = layer["config"]["name"]
        result["config"] = {**result["config"], "name": renamed.get(name, name)}
    if isinstance(layer.get("name"), str):
        result["name"] = renamed.get(layer["name"], layer["name"])
    if "inbound_nodes" in layer:
        result["inbound_nodes"] = _references(layer["inbound_nodes"], lambda name: renamed.get(name, name))
    return result


def _with_valid_parts(config: Config) -> Config:
    """The config of a wrapper or a recurrent layer, with valid names of the layers in it."""
    result = dict(config)
    for key in INNER_LAYERS:
        value = config.get(key)
        if isinstance(value, dict) and isinstance(value.get("config"), dict):
            result[key] = _part(value)
        elif isinstance(value, list):
            result[key] = [_part(item) if isinstance(item, dict) else item for item in value]
    return result


def _part(layer: Config) -> Config:
    if _is_model(layer):
        return _model(layer)[0]
    config = _with_valid_parts(layer["config"])
    if isinstance(config.get("name"), str):
        config["name"] = valid_name(config["name"])
    return {**layer, "config": config}


def _new_names(names: Iterable[str]) -> dict[str, str]:
    """A new name for each that is not valid; none of them twice, and none that another layer has."""
    wanted = list(names)
    taken = {name for name in wanted if valid_name(name) == name}
    result: dict[str, str] = {}
    for old in wanted:
        if old in taken or old in result:
            continue
        new, number = valid_name(old), 0
        while new in taken:
            number += 1
            new = f"{valid_name(old)}_{number}"
        taken.add(new)
        result[old] = new
    return result


def _references(value: Any, new: Callable[[str], str]) -> Any:
    """`value` with the layers' new names in every reference to a tensor: [layer, call, tensor, ...]."""
    if isinstance(value, dict):
        return {key: _references(item, new) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    is_reference = len(value) in (3, 4) and isinstance(value[0], str) and all(isinstance(n, int) for n in value[1:3])
    if is_reference and value[0] != CONSTANT:
        return [new(value[0]), *(_references(item, new) for item in value[1:])]
    return [_references(item, new) for item in value]


def _is_model(layer: Config) -> bool:
    config = layer.get("config")
    return isinstance(config, list) or (isinstance(config, dict) and isinstance(config.get("layers"), list))


def _is_named(layer: Config) -> bool:
    return isinstance(layer["config"], dict) and isinstance(layer["config"].get("name"), str)
