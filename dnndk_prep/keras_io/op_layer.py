"""The Keras 2 layer that computes an operation between layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from dnndk_prep.keras_io.op_functions import COMPUTE


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
