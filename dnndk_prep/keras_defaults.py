"""Keras as it is delivered: a user's keras.json (floatx, image_data_format) would decide what every model becomes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

DEFAULTS: dict[str, Any] = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}


@contextmanager
def keras_defaults() -> Iterator[None]:
    """Inside, keras and tf_keras have their defaults, as far as they are imported; after it, what was set before."""
    modules = [sys.modules[name] for name in ("keras", "tf_keras") if name in sys.modules]
    before = [{name: getattr(module.backend, name)() for name in DEFAULTS} for module in modules]
    try:
        for module in modules:
            set_defaults(module)
        yield
    finally:
        for module, values in zip(modules, before, strict=True):
            _set(module, values)


def set_defaults(keras: ModuleType) -> None:
    """The same for a keras or tf_keras that has just been imported, for good."""
    _set(keras, DEFAULTS)


def _set(keras: ModuleType, values: dict[str, Any]) -> None:
    for name, value in values.items():
        getattr(keras.backend, f"set_{name}")(value)
