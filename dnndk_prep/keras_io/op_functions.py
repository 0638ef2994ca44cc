"""What an operation between layers computes, by the names of keras_io.op_tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dnndk_prep.keras_io.activations import KERAS3_ACTIVATIONS, PLAIN_ACTIVATIONS
from dnndk_prep.keras_io.op_types import as_type, binary, common_type, logical, unary, wide

Axis = int | Sequence[int] | None


def _reduced(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    def compute(x: tf.Tensor, axis: Axis = None, keepdims: bool | None = False) -> tf.Tensor:
        return function(x, axis=axis, keepdims=bool(keepdims))

    return compute


def _where(condition: tf.Tensor, a: Any = None, b: Any = None) -> tf.Tensor:
    if a is None or b is None:
        raise ValueError("where without two values gives as many places as there are true ones")
    dtype = common_type([a, b]) if isinstance(a, tf.Tensor) or isinstance(b, tf.Tensor) else _kind(a, b)
    return tf.where(as_type(condition, tf.bool), as_type(a, dtype), as_type(b, dtype))


def _kind(a: Any, b: Any) -> tf.DType:
    return tf.float32 if "f" in {np.asarray(value).dtype.kind for value in (a, b)} else tf.int32


def _matmul(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """As numpy: a vector is a row on the left and a column on the right, and its axis goes."""
    if a.shape.rank > 1 and b.shape.rank > 1:
        return tf.matmul(a, b)
    rows = tf.expand_dims(a, 0) if a.shape.rank == 1 else a
    columns = tf.expand_dims(b, -1) if b.shape.rank == 1 else b
    product = tf.matmul(rows, columns)
    if b.shape.rank == 1:
        product = tf.squeeze(product, -1)
    return tf.squeeze(product, -1 if b.shape.rank == 1 else -2) if a.shape.rank == 1 else product


def _flat(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """`function` over all values at once where the axis is None, as in Keras 3; TensorFlow takes the last axis then."""

    def compute(x: tf.Tensor, axis: int | None = -1) -> tf.Tensor:
        if axis is not None:
            return function(x, axis)
        return tf.reshape(function(tf.reshape(x, [1, -1]), -1), [-1 if n is None else n for n in x.shape.as_list()])

    return compute


def _clip(x: tf.Tensor, low: Any, high: Any) -> tf.Tensor:
    # What the DPU tools know under its own name.
    if (low, high) == (0, 6):
        return tf.nn.relu6(x)
    return tf.maximum(tf.minimum(x, as_type(high, x.dtype)), as_type(low, x.dtype))


def _elu(x: tf.Tensor, alpha: float = 1.0) -> tf.Tensor:
    return tf.nn.elu(x) if alpha == 1 else tf.where(x > 0, x, alpha * tf.nn.elu(x))


def _transpose(x: tf.Tensor, order: Sequence[int] | None = None) -> tf.Tensor:
    return tf.transpose(x, order)


def _swap_axes(x: tf.Tensor, first: int, second: int) -> tf.Tensor:
    order = list(range(x.shape.rank))
    order[first], order[second] = order[second], order[first]
    return tf.transpose(x, order)


def _expand_dims(x: tf.Tensor, axis: int | Sequence[int]) -> tf.Tensor:
    axes = [axis] if isinstance(axis, int) else axis
    rank = x.shape.rank + len(axes)
    for one in sorted(a % rank for a in axes):
        x = tf.expand_dims(x, one)
    return x


def _squeeze(x: tf.Tensor, axis: Axis = None) -> tf.Tensor:
    if axis is not None:
        return tf.squeeze(x, axis)
    # The batch may be of one example, too; what the model was built for counts.
    ones = [place for place, size in enumerate(x.shape.as_list()) if size == 1]
    return tf.squeeze(x, ones) if ones else tf.identity(x)


def _concatenate(tensors: Sequence[Any], axis: int) -> tf.Tensor:
    dtype = common_type(tensors)
    return tf.concat([as_type(value, dtype) for value in tensors], axis)


def _stack(tensors: Sequence[Any], axis: int = 0) -> tf.Tensor:
    dtype = common_type(tensors)
    return tf.stack([as_type(value, dtype) for value in tensors], axis)


def _split(x: tf.Tensor, sections: int | Sequence[int], axis: int = 0) -> list[tf.Tensor]:
    """As numpy: a number of equal parts, or the indices at which to cut."""
    if isinstance(sections, int):
        return tf.split(x, sections, axis)
    ends = [0, *sections, x.shape[axis]]
    return tf.split(x, np.diff(ends), axis)


def _split_sizes(x: tf.Tensor, sections: int | Sequence[int], axis: int = 0) -> list[tf.Tensor]:
    """As TensorFlow: a number of equal parts, or the sizes of the parts."""
    return tf.split(x, sections, axis)


def _unstack(x: tf.Tensor, count: int | None = None, axis: int = 0) -> list[tf.Tensor]:
    return tf.unstack(x, count, axis)


def _get_item(x: tf.Tensor, key: Any) -> tf.Tensor:
    return x[tuple(key) if isinstance(key, list) else key]


def _pad(x: tf.Tensor, width: Any, value: Any = None, mode: str = "constant") -> tf.Tensor:
    pairs = np.broadcast_to(np.asarray(width, np.int32), (x.shape.rank, 2))
    if mode.lower() not in ("constant", "reflect", "symmetric"):
        raise ValueError(f"padding of mode {mode!r}")
    return tf.pad(x, pairs, mode.upper(), constant_values=value or 0)


def _flip(x: tf.Tensor, axis: Axis = None) -> tf.Tensor:
    axes = range(x.shape.rank) if axis is None else [axis] if isinstance(axis, int) else axis
    return tf.reverse(x, list(axes))


def _pooled(kind: str) -> Callable[..., tf.Tensor]:
    def compute(x: tf.Tensor, pool_size: Any, strides: Any = None, padding: str = "valid") -> tf.Tensor:
        size = _pair(pool_size)
        steps = size if strides is None else _pair(strides)
        function = tf.nn.max_pool2d if kind == "max" else tf.nn.avg_pool2d
        return function(x, size, steps, padding.upper())

    return compute


def _pair(value: Any) -> list[int]:
    values = [value, value] if isinstance(value, int) else list(value)
    return values[1:3] if len(values) == 4 else values * 2 if len(values) == 1 else values


def _resize(x: tf.Tensor, size: Sequence[int], method: str = "bilinear") -> tf.Tensor:
    # A rank of 3 is one image.
    return tf.image.resize(x, size, method)


def _keras3_resize(x: tf.Tensor, size: Sequence[int], method: str = "bilinear") -> tf.Tensor:
    """In the type of `x`, rounded, as Keras 3 gives it."""
    result = tf.image.resize(x, size, method)
    if result.dtype == x.dtype:
        return result
    if not x.dtype.is_integer:
        return tf.cast(result, x.dtype)
    low, high = (float(end) for end in (x.dtype.min, x.dtype.max))
    return tf.cast(tf.maximum(tf.minimum(tf.round(result), high), low), x.dtype)


def _gelu(x: tf.Tensor, approximate: bool = False) -> tf.Tensor:
    return tf.nn.gelu(x, approximate)


def _argmax(x: tf.Tensor, axis: int | None = None, dtype: str = "int64") -> tf.Tensor:
    return tf.argmax(x, axis or 0, dtype)


def _keras3_argmax(x: tf.Tensor, axis: int | None = None) -> tf.Tensor:
    return _argmax(tf.reshape(x, [-1]) if axis is None else x, axis, "int32")


# keras3_*: what TensorFlow, in files of Keras 2.4 - 2.15, computes otherwise under the same name.
COMPUTE: Mapping[str, Callable[..., Any]] = {
    "add": binary(tf.add),
    "subtract": binary(tf.subtract),
    "multiply": binary(tf.multiply),
    "divide": binary(tf.truediv),
    "power": binary(tf.pow),
    "maximum": binary(tf.maximum),
    "minimum": binary(tf.minimum),
    "keras3_divide": binary(tf.truediv, floats=True),
    "squared_difference": binary(tf.math.squared_difference),
    **{name: binary(getattr(tf, name)) for name in ("equal", "not_equal", "greater", "greater_equal", "less")},
    "less_equal": binary(tf.less_equal),
    "logical_and": logical(lambda a, b: tf.logical_and(a, b)),
    "logical_or": logical(lambda a, b: tf.logical_or(a, b)),
    "logical_not": logical(lambda x: tf.logical_not(x)),
    "where": _where,
    "zeros_like": lambda x: tf.zeros_like(x),
    "ones_like": lambda x: tf.ones_like(x),
    "matmul": binary(tf.matmul),
    "keras3_matmul": binary(_matmul),
    "add_n": lambda tensors: tf.add_n(tensors),
    "negative": lambda x: tf.negative(x),
    "absolute": lambda x: tf.abs(x),
    "square": lambda x: tf.square(tf.cast(x, tf.int32) if x.dtype.is_bool else x),
    "sqrt": unary(lambda x: tf.sqrt(x)),
    "rsqrt": unary(lambda x: tf.math.rsqrt(x)),
    "exp": unary(lambda x: tf.exp(x)),
    "log": unary(lambda x: tf.math.log(x)),
    "tanh": unary(lambda x: tf.tanh(x)),
    "reciprocal": unary(lambda x: tf.math.reciprocal(x)),
    "sign": lambda x: tf.sign(x),
    "sigmoid": lambda x: tf.sigmoid(x),
    "softplus": lambda x: tf.nn.softplus(x),
    "softsign": lambda x: tf.nn.softsign(x),
    "relu": lambda x: tf.nn.relu(x),
    "relu6": lambda x: tf.nn.relu6(x),
    "selu": lambda x: tf.nn.selu(x),
    "silu": PLAIN_ACTIVATIONS["silu"],
    "hard_sigmoid": KERAS3_ACTIVATIONS["keras3_hard_sigmoid"],
    "hard_silu": KERAS3_ACTIVATIONS["keras3_hard_silu"],
    "elu": _elu,
    "leaky_relu": lambda x, alpha=0.2: tf.nn.leaky_relu(x, alpha),
    "gelu": _gelu,
    "softmax": lambda x, axis=None: tf.nn.softmax(x, axis),
    "log_softmax": lambda x, axis=None: tf.nn.log_softmax(x, axis),
    "keras3_softmax": _flat(tf.nn.softmax),
    "keras3_log_softmax": _flat(tf.nn.log_softmax),
    "l2_normalize": lambda x, axis=None, epsilon=1e-12: tf.math.l2_normalize(x, axis, epsilon),
    "mean": _reduced(tf.reduce_mean),
    "keras3_mean": unary(_reduced(tf.reduce_mean)),
    "variance": unary(_reduced(tf.math.reduce_variance)),
    "deviation": unary(_reduced(tf.math.reduce_std)),
    "sum": _reduced(tf.reduce_sum),
    "keras3_sum": wide(_reduced(tf.reduce_sum)),
    "product": _reduced(tf.reduce_prod),
    "keras3_product": wide(_reduced(tf.reduce_prod)),
    "all": logical(_reduced(tf.reduce_all)),
    "any": logical(_reduced(tf.reduce_any)),
    "max": _reduced(tf.reduce_max),
    "min": _reduced(tf.reduce_min),
    "argmax": _argmax,
    "keras3_argmax": _keras3_argmax,
    "clip": _clip,
    "reshape": lambda x, shape: tf.reshape(x, [shape] if isinstance(shape, int) else shape),
    "transpose": _transpose,
    "swap_axes": _swap_axes,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "concatenate": _concatenate,
    "stack": _stack,
    "split": _split,
    "split_sizes": _split_sizes,
    "unstack": _unstack,
    "get_item": _get_item,
    "pad": _pad,
    "tile": lambda x, repeats: tf.tile(x, repeats),
    "flip": _flip,
    "cast": lambda x, dtype: tf.cast(x, dtype),
    "identity": lambda x: tf.identity(x),
    "max_pool": _pooled("max"),
    "average_pool": _pooled("average"),
    "resize": _resize,
    "keras3_resize": _keras3_resize,
    "depth_to_space": lambda x, size: tf.nn.depth_to_space(x, size),
    "space_to_depth": lambda x, size: tf.nn.space_to_depth(x, size),
}
