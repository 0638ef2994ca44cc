"""Weights of a Keras model that are stored: no initial values are drawn for them, and large ones are copied once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src import backend

from dnndk_prep.graph.weights import room

ENDS = "_initializer"
# Bytes from which a weight is large here.
PART = 2**25


class Untouched(tf_keras.initializers.Initializer):
    """Room for a weight, with whatever lies there: no page of it is memory before the stored weight is written."""

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> tf.Tensor:
        return tf.raw_ops.Empty(shape=shape, dtype=dtype or tf.float32, init=False)

    def get_config(self) -> dict[str, Any]:
        return {}


# For the scope in which Keras 2 builds what `without_initial_values` gives.
UNTOUCHED = {Untouched.__name__: Untouched}
KERAS2: dict[str, Any] = {"class_name": Untouched.__name__, "config": {}}
# Keras 3 leaves variables of other backends' values alone; zeros are the cheapest that it makes.
KERAS3: dict[str, Any] = {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}


def without_initial_values(config: Any, is_keras3: bool) -> Any:
    """`config` with the cheapest initializer for each weight; nothing in it may be the user's own class."""
    if isinstance(config, list):
        return [without_initial_values(item, is_keras3) for item in config]
    if not isinstance(config, dict):
        return config
    cheap = KERAS3 if is_keras3 else KERAS2
    return {
        key: cheap if _draws(key, value) else without_initial_values(value, is_keras3) for key, value in config.items()
    }


def _draws(key: Any, value: Any) -> bool:
    return isinstance(key, str) and key.endswith(ENDS) and isinstance(value, dict) and "class_name" in value


@contextmanager
def large_ones_copied_once() -> Iterator[None]:
    """Keras 2 gives large weights to TensorFlow as arrays that become the variable: it copies any other array twice."""
    original = backend.batch_set_value

    def batch_set_value(tuples: list[tuple[tf.Variable, np.ndarray]]) -> None:
        original([(variable, value) for variable, value in tuples if not _is_large(variable, value)])
        for variable, value in tuples:
            if _is_large(variable, value):
                place = room(value.shape, value.dtype)
                place[...] = value
                variable.assign(tf.experimental.dlpack.from_dlpack(place.__dlpack__()))

    backend.batch_set_value = batch_set_value
    try:
        yield
    finally:
        backend.batch_set_value = original


def _is_large(variable: tf.Variable, value: np.ndarray) -> bool:
    return value.nbytes > PART and value.dtype == variable.dtype.as_numpy_dtype
