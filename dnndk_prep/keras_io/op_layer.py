"""The Keras 2 layer that computes an operation between layers, with the functions that it may compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from dnndk_prep.keras_io.activations import KERAS3_ACTIVATIONS, PLAIN_ACTIVATIONS

Axis = int | Sequence[int] | None


def _binary(function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Callable[..., tf.Tensor]:
    """`function` of two values of one type: whole numbers become floats where the other is a float, as in Keras 3."""

    def compute(a: Any, b: Any) -> tf.Tensor:
        tensors = [value for value in (a, b) if isinstance(value, tf.Tensor)]
        floats = [value.dtype for value in tensors if value.dtype.is_floating]
        is_float = any(np.asarray(value).dtype.kind == "f" for value in (a, b) if not isinstance(value, tf.Tensor))
        dtype = floats[0] if floats else tf.float32 if is_float else tensors[0].dtype
        return function(_as(a, dtype), _as(b, dtype))

    return compute


def _as(value: Any, dtype: tf.DType) -> tf.Tensor:
    if not isinstance(value, tf.Tensor):
        return tf.constant(value, dtype)
    return value if value.dtype == dtype else tf.cast(value, dtype)


def _reduced(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    def compute(x: tf.Tensor, axis: Axis = None, keepdims: bool | None = False) -> tf.Tensor:
        return function(x, axis=axis, keepdims=bool(keepdims))

    return compute


def _clip(x: tf.Tensor, low: Any, high: Any) -> tf.Tensor:
    # What the DPU tools know under its own name.
    if (low, high) == (0, 6):
        return tf.nn.relu6(x)
    return tf.maximum(tf.minimum(x, _as(high, x.dtype)), _as(low, x.dtype))


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


def _pad(x: tf.Tensor, width: Any, value: Any = None) -> tf.Tensor:
    pairs = np.broadcast_to(np.asarray(width, np.int32), (x.shape.rank, 2))
    return tf.pad(x, pairs, constant_values=value or 0)


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


def _gelu(x: tf.Tensor, approximate: bool = False) -> tf.Tensor:
    return tf.nn.gelu(x, approximate)


def _argmax(x: tf.Tensor, axis: int | None = 0, dtype: str = "int32") -> tf.Tensor:
    if axis is None:
        return tf.argmax(tf.reshape(x, [-1]), 0, dtype)
    return tf.argmax(x, axis, dtype)


COMPUTE: Mapping[str, Callable[..., Any]] = {
    "add": _binary(tf.add),
    "subtract": _binary(tf.subtract),
    "multiply": _binary(tf.multiply),
    "divide": _binary(tf.truediv),
    "power": _binary(tf.pow),
    "maximum": _binary(tf.maximum),
    "minimum": _binary(tf.minimum),
    "matmul": lambda a, b: tf.matmul(a, b),
    "add_n": lambda tensors: tf.add_n(tensors),
    "negative": lambda x: tf.negative(x),
    "absolute": lambda x: tf.abs(x),
    "square": lambda x: tf.square(x),
    "sqrt": lambda x: tf.sqrt(x),
    "rsqrt": lambda x: tf.math.rsqrt(x),
    "exp": lambda x: tf.exp(x),
    "log": lambda x: tf.math.log(x),
    "tanh": lambda x: tf.tanh(x),
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
    "softmax": lambda x, axis=-1: tf.nn.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: tf.nn.log_softmax(x, axis),
    "l2_normalize": lambda x, axis=None, epsilon=1e-12: tf.math.l2_normalize(x, axis, epsilon),
    "mean": _reduced(tf.reduce_mean),
    "variance": _reduced(tf.math.reduce_variance),
    "sum": _reduced(tf.reduce_sum),
    "product": _reduced(tf.reduce_prod),
    "max": _reduced(tf.reduce_max),
    "min": _reduced(tf.reduce_min),
    "argmax": _argmax,
    "clip": _clip,
    "reshape": lambda x, shape: tf.reshape(x, [shape] if isinstance(shape, int) else shape),
    "transpose": _transpose,
    "swap_axes": _swap_axes,
    "expand_dims": _expand_dims,
    "squeeze": lambda x, axis=None: tf.squeeze(x, axis),
    "concatenate": lambda tensors, axis: tf.concat(tensors, axis),
    "stack": lambda tensors, axis=0: tf.stack(tensors, axis),
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
    "depth_to_space": lambda x, size: tf.nn.depth_to_space(x, size),
    "space_to_depth": lambda x, size: tf.nn.space_to_depth(x, size),
}


class Operation(tf_keras.layers.Layer):
    """One operation of COMPUTE; `values` are its arguments, {"tensor": i} stands for the layer's i-th input."""

    def __init__(self, op: str, values: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.op, self.values = op, values

    def call(self, inputs: Any) -> Any:
        tensors = inputs if isinstance(inputs, list | tuple) else [inputs]
        return COMPUTE[self.op](**{name: _filled(value, tensors) for name, value in self.values.items()})

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Operations hand on no mask, as in Keras 3."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "op": self.op, "values": self.values}


def _filled(value: Any, tensors: Sequence[tf.Tensor]) -> Any:
    if isinstance(value, list | tuple):
        return [_filled(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "array" in value:
        return np.asarray(value["array"], value["dtype"])
    return Ellipsis if "ellipsis" in value else slice(*value["slice"])
