"""From a trained Keras model to everything the Xilinx DPU tools need."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import CheckResult, FrozenGraph, InferenceGraph, Model, OptimizedGraph, QuantizedGraph, open_model

__version__ = "0.1.0"
__all__ = [
    "CheckResult",
    "FrozenGraph",
    "InferenceGraph",
    "Model",
    "OptimizedGraph",
    "QuantizedGraph",
    "__version__",
    "open_model",
]


def __getattr__(name: str) -> Any:
    """The Python API is imported when it is used: the command line must not wait for it, nor any stage depend on it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.api"), name)
