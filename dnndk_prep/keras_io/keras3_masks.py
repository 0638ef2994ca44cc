"""Layers of Keras 2 that treat masks as Keras 3 does, for the models that Keras 3 wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import tensorflow as tf
import tf_keras


class _Merging:
    """The masks' union, and none where one tensor has none; Keras 2 takes what all masks share."""

    def compute_mask(self, inputs: Any, mask: Any = None) -> tf.Tensor | None:
        return None if mask is None or any(item is None for item in mask) else reduce(tf.logical_or, mask)


class Multiply(_Merging, tf_keras.layers.Multiply):
    """What is masked in a tensor counts as one."""

    def _merge_function(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        masks = map(_whole_mask, inputs)
        return super()._merge_function(
            [x if mask is None else tf.where(mask, x, tf.ones_like(x)) for x, mask in zip(inputs, masks, strict=True)]
        )


class Maximum(_Merging, tf_keras.layers.Maximum):
    """What is masked in one tensor is the other's."""

    def _merge_function(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        return _unmasked(tf.maximum, inputs)


class Minimum(_Merging, tf_keras.layers.Minimum):
    """What is masked in one tensor is the other's."""

    def _merge_function(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        return _unmasked(tf.minimum, inputs)


class Concatenate(tf_keras.layers.Concatenate):
    """A place counts if any of its numbers does; in Keras 2, if all do."""

    def compute_mask(self, inputs: Any, mask: Any = None) -> tf.Tensor | None:
        if mask is None or all(item is None for item in mask):
            return None
        masks = [tf.ones_like(x, tf.bool) if m is None else _as_large(m, x) for x, m in zip(inputs, mask, strict=True)]
        return tf.reduce_any(tf.concat(masks, self.axis), -1)


class TimeDistributed(tf_keras.layers.TimeDistributed):
    """Its own mask, where Keras 2 asks the layer inside for one at every step."""

    def compute_mask(self, inputs: Any, mask: Any = None) -> tf.Tensor | None:
        return mask


class Softmax(tf_keras.layers.Softmax):
    """Zero where it is masked, even where all is."""

    def call(self, inputs: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        result = super().call(inputs, mask)
        if mask is None:
            return result
        # A mask of numbers means those above one half.
        kept = mask if mask.dtype == tf.bool else tf.greater(mask, tf.constant(0.5, mask.dtype))
        return tf.where(kept, result, tf.zeros_like(result))


def _unmasked(merge: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], inputs: Sequence[tf.Tensor]) -> tf.Tensor:
    result, kept = inputs[0], _whole_mask(inputs[0])
    for tensor in inputs[1:]:
        mask = _whole_mask(tensor)
        if mask is not None:
            tensor = tf.where(mask, tensor, result)
        if kept is not None:
            result = tf.where(kept, result, tensor)
        kept = None if mask is None or kept is None else tf.logical_or(kept, mask)
        result = merge(result, tensor)
    return result


def _whole_mask(tensor: tf.Tensor) -> tf.Tensor | None:
    mask = getattr(tensor, "_keras_mask", None)
    return None if mask is None else _as_large(mask, tensor)


def _as_large(mask: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    """The mask with a value for each of the tensor's."""
    if mask.shape.rank < tensor.shape.rank:
        mask = tf.expand_dims(mask, -1)
    return tf.logical_or(mask, tf.zeros_like(tensor, tf.bool))


KERAS3_MASKS: Mapping[str, type] = {
    **{name: type(name, (_Merging, getattr(tf_keras.layers, name)), {}) for name in ("Add", "Subtract", "Average")},
    **{kind.__name__: kind for kind in (Multiply, Maximum, Minimum, Concatenate, TimeDistributed, Softmax)},
}
