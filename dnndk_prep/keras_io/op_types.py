"""Types of numbers in operations between layers: how Keras 3 promotes whole numbers, floats and booleans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def binary(function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], floats: bool = False) -> Callable[..., tf.Tensor]:
    """`function` of two values of one type, as Keras 3 promotes them; with `floats` whole numbers become floats."""

    def compute(a: Any, b: Any, **options: Any) -> tf.Tensor:
        dtype = common_type([a, b])
        if floats and not dtype.is_floating:
            dtype = tf.float32
        return function(as_type(a, dtype), as_type(b, dtype), **options)

    return compute


def common_type(values: Sequence[Any]) -> tf.DType:
    """The type of a result: the widest float, else the whole numbers that hold all; of constants only the kind counts.

    So does Keras 3 (keras.backend.result_type); in TensorFlow all tensors have one type.
    """
    types = [value.dtype for value in values if isinstance(value, tf.Tensor)]
    kinds = {np.asarray(value).dtype.kind for value in values if not isinstance(value, tf.Tensor)}
    if floats := [dtype for dtype in types if dtype.is_floating]:
        return max(floats, key=lambda dtype: dtype.size)
    if "f" in kinds:
        return tf.float32
    whole = np.result_type(*(dtype.as_numpy_dtype for dtype in types))
    return tf.int32 if whole.kind == "b" and kinds & set("iu") else tf.as_dtype(whole)


def as_type(value: Any, dtype: tf.DType) -> tf.Tensor:
    if not isinstance(value, tf.Tensor):
        return tf.constant(value, dtype)
    return value if value.dtype == dtype else tf.cast(value, dtype)


def unary(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """`function`, which is of floats: Keras 3 takes whole numbers as float32."""

    def compute(x: tf.Tensor, **options: Any) -> tf.Tensor:
        return function(x if x.dtype.is_floating else tf.cast(x, tf.float32), **options)

    return compute


def wide(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """`function` of whole numbers in 32 bits at least: so does Keras 3, whose sums would overflow."""

    def compute(x: tf.Tensor, **options: Any) -> tf.Tensor:
        is_small = x.dtype.is_bool or (x.dtype.is_integer and x.dtype.size < 4)
        return function(tf.cast(x, tf.uint32 if x.dtype.is_unsigned else tf.int32) if is_small else x, **options)

    return compute


def logical(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """`function` of booleans: of numbers those that are not zero are true."""

    def compute(*values: Any, **options: Any) -> tf.Tensor:
        named = {key: as_type(value, tf.bool) if key in ("a", "b", "x") else value for key, value in options.items()}
        return function(*(as_type(value, tf.bool) for value in values), **named)

    return compute
