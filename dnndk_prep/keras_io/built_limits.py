"""Limits on layers by the shapes that they really get, looked at when they are called, before they are built.

The scan of a file knows the shapes of a model's inputs alone. Imports no Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from dnndk_prep.errors import StageError
from dnndk_prep.keras_io.scan.sizes import MAX_UNROLLED

# A LocallyConnected layer gets nodes for each position (implementation 1 and 3), or a matrix of all its inputs and
# outputs (2), and its weights are made before the stored ones are seen.
MAX_POSITIONS = {1: 2**16, 2: 2**14, 3: 2**16}


@contextmanager
def limited_calls(kinds: Iterable[type]) -> Iterator[None]:
    """Inside, calls of layers of `kinds`, Keras' base classes, raise StageError where a layer would grow too large."""
    with ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(_limited(kind))
        yield


def check_call(layer: Any, inputs: Any) -> None:
    """Raises StageError where `layer` becomes too many copies of its cell, or of its kernel, for these inputs.

    An unrolled loop has a copy of the cell for each step, a LocallyConnected layer a kernel for each position.
    """
    shape = _shape(inputs)
    if shape is None:
        return
    if getattr(layer, "unroll", False) and len(shape) > 2:
        steps = shape[0 if getattr(layer, "time_major", False) else 1]
        if steps is None or steps > MAX_UNROLLED:
            found = "any number of steps" if steps is None else f"{steps} steps"
            raise _too_large(layer, "has too many steps to be unrolled", f"{MAX_UNROLLED} steps", found)
    if type(layer).__name__.startswith("LocallyConnected"):
        most = MAX_POSITIONS.get(layer.implementation, min(MAX_POSITIONS.values()))
        outputs = tuple(layer.compute_output_shape(shape))
        is_first = layer.data_format == "channels_first"
        positions = max(_product(one[2:] if is_first else one[1:-1]) for one in (shape, outputs))
        if positions > most:
            raise _too_large(layer, "has a kernel for each of too many positions", f"{most}", f"{positions}")


def _shape(inputs: Any) -> tuple[int | None, ...] | None:
    """The shape of the first tensor."""
    while isinstance(inputs, list | tuple) and inputs:
        inputs = inputs[0]
    shape = getattr(inputs, "shape", None)
    if shape is None or getattr(shape, "rank", 0) is None:
        return None
    return tuple(None if size is None else int(size) for size in shape)


def _product(sizes: Iterable[int | None]) -> int:
    return math.prod(size or 1 for size in sizes)


def _too_large(layer: Any, what: str, most: str, found: str) -> StageError:
    return StageError(
        f"the layer {layer.name!r} ({type(layer).__name__}) {what}",
        expected=f"at most {most}",
        found=f"{found}, as the layers before it give them",
        remedy="build the model for a smaller input, or without unroll: a loop becomes TensorFlow 1 control flow",
    )


@contextmanager
def _limited(kind: Any) -> Iterator[None]:
    original: Callable[..., Any] = kind.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        check_call(self, args[0] if args else next(iter(kwargs.values()), None))
        return original(self, *args, **kwargs)

    kind.__call__ = call
    try:
        yield
    finally:
        kind.__call__ = original
