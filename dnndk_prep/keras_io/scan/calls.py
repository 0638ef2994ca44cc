"""The calls of layers in an architecture: what they are given, and how many they become when models nest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Stands for a layer's name where a call of Keras 2 is given a plain value.
CONSTANT = "_CONSTANT_VALUE"
# A model that is called runs all its calls again: 24 models, each of which calls the next twice, are 2^24 calls. The
# largest published networks have some 3 000.
MAX_CALLS = 20_000


def has_tensor(node: Any) -> bool:
    """Whether the call is given a tensor of the model: as Keras 3 writes it (a dict), or Keras 2 (a list)."""
    if isinstance(node, dict):
        return _has_tensor([node.get("args"), node.get("kwargs")])
    return set(_layers_read(node)) != {CONSTANT}


def call_settings(value: Any) -> Iterator[tuple[str, Any]]:
    """The settings in the calls of a layer, wherever they stand in them; what is inside a shape is the shape's."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, list | dict):
                yield from call_settings(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            if "shape" not in key and isinstance(item, list | dict):
                yield from call_settings(item)


def number_of_calls(value: Any) -> int:
    """How many calls building `value` makes, those inside models as often as the models are called.

    It stops to count beyond MAX_CALLS.
    """
    if isinstance(value, list):
        inside = sum(number_of_calls(item) for item in value if isinstance(item, list | dict))
        return min(inside, MAX_CALLS + 1)
    if not isinstance(value, dict):
        return 0
    inside = sum(number_of_calls(item) for key, item in value.items() if key != "inbound_nodes")
    if "class_name" not in value:
        return min(inside, MAX_CALLS + 1)
    nodes = value.get("inbound_nodes")
    times = max(len(nodes), 1) if isinstance(nodes, list) else 1
    return min(times * (1 + inside), MAX_CALLS + 1)


def _has_tensor(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("class_name") == "__keras_tensor__" or any(map(_has_tensor, value.values()))
    return isinstance(value, list) and any(_has_tensor(item) for item in value if isinstance(item, list | dict))


def _layers_read(value: Any) -> Iterator[str]:
    """The names in Keras 2's references to tensors: [layer, call, tensor] or, in a call, with a dict of arguments."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return
    if len(value) in (3, 4) and isinstance(value[0], str):
        yield value[0]
    for item in value:
        if isinstance(item, list | dict):
            yield from _layers_read(item)
