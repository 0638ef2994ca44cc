"""Keeps Keras 2 from rebuilding a functional model for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def finite(config: Any) -> Any:
    """`config` with the layers of each functional model in a list that ends a rebuilding without end by a ValueError.

    Keras 2 goes through the layers again and again until every call has its inputs. Where calls wait for each other, or
    for one that is not there, it never stops (tf_keras 2.21, reconstruct_from_config); Keras 3 notices.
    """
    if isinstance(config, list):
        return [finite(item) for item in config]
    if not isinstance(config, dict):
        return config
    result = {key: finite(item) for key, item in config.items()}
    layers = result.get("layers")
    if isinstance(layers, list) and "output_layers" in result:
        result["layers"] = _Passes(layers)
    return result


class _Passes(list[Any]):
    """A list that is gone through only so often."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__(layers)
        calls = [layer.get("inbound_nodes") for layer in layers if isinstance(layer, dict)]
        # Every pass makes at least one call; one more makes the layers, and a copy or two are made on the way.
        self._left = sum(len(nodes) for nodes in calls if isinstance(nodes, list)) + 10

    def __iter__(self) -> Iterator[Any]:
        self._left -= 1
        if self._left < 0:
            raise ValueError("calls of layers wait for each other, or for calls that are not there")
        return super().__iter__()
