"""A plain numpy forward pass of models in either order of axes, with true convolution or correlation.

A model is a list of steps: (name, inputs, function, settings), each a function here. Nothing of the converter is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Arrays = Sequence[np.ndarray]
Step = tuple[str, Sequence[str], str, Mapping[str, Any]]


def evaluate(steps: Sequence[Step], feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What every step gives, by its name; images are (batch, channels, rows, columns)."""
    values = dict(feeds)
    for name, inputs, function, settings in steps:
        values[name] = globals()[function](*(values[one] for one in inputs), **settings)
    return values


def conv(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, strides: Sequence[int] = (1, 1), is_true: bool = False
) -> np.ndarray:
    """kernel: (outputs, inputs, rows, columns). A true convolution runs against the direction of the image."""
    rows, cols = kernel.shape[2:]
    height, width = (x.shape[2] - rows) // strides[0] + 1, (x.shape[3] - cols) // strides[1] + 1
    result = np.zeros((x.shape[0], kernel.shape[0], height, width))
    for i in range(height):
        for j in range(width):
            for r in range(rows):
                for c in range(cols):
                    k = kernel[:, :, rows - 1 - r, cols - 1 - c] if is_true else kernel[:, :, r, c]
                    result[:, :, i, j] += x[:, :, i * strides[0] + r, j * strides[1] + c] @ k.T
    return result + bias[None, :, None, None]


def pool(x: np.ndarray, size: Sequence[int], largest: bool = True) -> np.ndarray:
    height, width = x.shape[2] // size[0], x.shape[3] // size[1]
    cut = x[:, :, : height * size[0], : width * size[1]].reshape(*x.shape[:2], height, size[0], width, size[1])
    return cut.max(axis=(3, 5)) if largest else cut.mean(axis=(3, 5))


def norm(x: np.ndarray, vectors: Arrays, axis: int, epsilon: float = 1e-3) -> np.ndarray:
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    gamma, beta, mean, variance = (vector.reshape(shape) for vector in vectors)
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def concatenate(*values: np.ndarray, axis: int) -> np.ndarray:
    return np.concatenate(values, axis=axis)


def ravel(x: np.ndarray, turns: bool = False) -> np.ndarray:
    """As the plain Flatten, or as Flatten(data_format='channels_first'), which moves the channels last before."""
    return (x.transpose(0, 2, 3, 1) if turns else x).reshape(len(x), -1)


def dense(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return x @ kernel + bias
