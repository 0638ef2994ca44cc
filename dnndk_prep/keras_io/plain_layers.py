"""Layers of Keras 2 whose graphs no TensorFlow 1 runs, computed by plain means; and those of Keras 3 that it lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras.src.layers.convolutional import base_conv


class LayerNormalization(tf_keras.layers.LayerNormalization):
    """Mean and variance as nodes: Keras 2 takes a batch norm in training mode, channels first, which needs a GPU."""

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self._fused = False


class Dense(tf_keras.layers.Dense):
    """On images and sequences one product of matrices between two Reshapes, the bias and the activation beside it.

    Keras 2 computes the shapes of both at run time, which ends in a ConcatV2 of whole numbers.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        sizes = inputs.shape.as_list() if isinstance(inputs, tf.Tensor) else []
        if len(sizes) < 3 or sizes.count(None) > 1 or not _is_of_keras(self.activation):
            return super().call(inputs)
        rows = tf.reshape(inputs, [-1, sizes[-1]], name="rows")
        rows = super().call(rows)
        return tf.reshape(rows, [*(-1 if size is None else size for size in sizes[:-1]), self.units])


class Reshape(tf_keras.layers.Reshape):
    """With a constant shape where all but the batch is known, -1 in it or not."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        sizes = self.compute_output_shape(inputs.shape).as_list()
        return super().call(inputs) if None in sizes[1:] else tf.reshape(inputs, [-1, *sizes[1:]])


def _is_of_keras(activation: Any) -> bool:
    """Whether it computes each value or each row by itself; a user's own may look at the whole tensor."""
    return str(getattr(activation, "__module__", "")).startswith(("tf_keras.", "dnndk_prep."))


class GroupNormalization(tf_keras.layers.GroupNormalization):
    """With shapes as constants where they are known, and no weight for each value, which Keras 2 has for masks."""

    def call(self, inputs: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        rank = inputs.shape.rank
        if mask is not None or self.axis not in (-1, rank - 1):
            return super().call(inputs, mask)
        known = inputs.shape.as_list()
        free = [size is None for size in known[1:]]
        # One free size, the batch, is what -1 stands for.
        sizes = [-1, *(tf.shape(inputs)[i] if size is None else size for i, size in enumerate(known[1:], 1))]
        if any(free):
            sizes[0] = tf.shape(inputs)[0]
        parted = [*sizes[:-1], self.groups, known[-1] // self.groups]
        groups = tf.reshape(inputs, parted)
        mean, variance = tf.nn.moments(groups, [*range(1, rank - 1), rank], keepdims=True)
        result = tf.reshape((groups - mean) * tf.math.rsqrt(variance + self.epsilon), sizes)
        if self.scale:
            result = result * self.gamma
        return result + self.beta if self.center else result


class UpSampling2D(tf_keras.layers.UpSampling2D):
    """With half_pixel_centers False as Keras before 2.4 computed "bilinear": out[i] is the input at i / size."""

    def __init__(self, *args: Any, half_pixel_centers: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.half_pixel_centers = half_pixel_centers

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if self.half_pixel_centers or self.interpolation != "bilinear":
            return super().call(inputs)
        is_first = self.data_format == "channels_first"
        image = tf.transpose(inputs, [0, 2, 3, 1]) if is_first else inputs
        known = image.shape.as_list()[1:3]
        wanted = [None if size is None else size * by for size, by in zip(known, self.size, strict=True)]
        sizes = tf.shape(image)[1:3] * tf.constant(self.size) if None in wanted else wanted
        result = tf.compat.v1.image.resize_bilinear(image, sizes, name="resize")
        result.set_shape([None, *wanted, None])
        return tf.transpose(result, [0, 3, 1, 2]) if is_first else result

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "half_pixel_centers": self.half_pixel_centers}


class SpectralNormalization(tf_keras.layers.SpectralNormalization):
    """With an InputSpec of Keras 2: tf_keras 2.21 takes that of tf.keras, which is Keras 3, and its base refuses it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "input_spec" and value is not None and not isinstance(value, tf_keras.layers.InputSpec):
            value = tf_keras.layers.InputSpec(shape=value.shape)
        super().__setattr__(name, value)


class RMSNormalization(tf_keras.layers.Layer):
    """Keras 3's: x / sqrt(mean(x * x) + epsilon) * scale over the axes."""

    def __init__(self, axis: int | list[int] = -1, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis, self.epsilon = axis, epsilon

    def build(self, input_shape: Any) -> None:
        axes = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        self._axes = sorted(axis % len(input_shape) for axis in axes)
        self.scale = self.add_weight("scale", [input_shape[axis] for axis in self._axes], initializer="ones")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        squares = tf.reduce_mean(tf.square(inputs), self._axes, keepdims=True)
        # Along the last axes, whichever were normalised: so does Keras 3.
        return inputs * tf.math.rsqrt(squares + self.epsilon) * self.scale

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


# What Keras 3 has and Keras 2 has not; keras_io.supported lets them through.
KERAS3_LAYERS: Mapping[str, Any] = {"RMSNormalization": RMSNormalization}
# Those that Keras 2 needs to read its own files, too: it does not know its SpectralNormalization by name.
KERAS2_LAYERS: Mapping[str, Any] = {
    "UpSampling2D": UpSampling2D,
    "SpectralNormalization": SpectralNormalization,
}
PLAIN_LAYERS: Mapping[str, Any] = {
    "Dense": Dense,
    "Reshape": Reshape,
    "LayerNormalization": LayerNormalization,
    "GroupNormalization": GroupNormalization,
    **KERAS2_LAYERS,
    **KERAS3_LAYERS,
}


@contextmanager
def plain_convolutions() -> Iterator[None]:
    """Convolutions in groups are nodes of the graph: Keras 2 puts each into a library function, compiled for CPUs."""
    original = base_conv.Conv._jit_compiled_convolution_op
    base_conv.Conv._jit_compiled_convolution_op = lambda self, inputs, kernel: self.convolution_op(inputs, kernel)
    try:
        yield
    finally:
        base_conv.Conv._jit_compiled_convolution_op = original
