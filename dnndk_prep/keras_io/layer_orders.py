"""How a tensor of a turned model stands to the original's, and what that makes of weights along its axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.layer_graph import Leaf

SAME = "same"
LAST = "channels moved last"


@dataclass(frozen=True)
class Shuffled:
    """Feature j of the new tensor is feature index[j] of the old; `flattens` are the calls that made it so."""

    index: tuple[int, ...]
    flattens: frozenset[int]


Order = str | Shuffled


class MustNotShuffle(Exception):  # noqa: N818
    """A tensor is needed in its old order: these calls of Flatten must keep it."""

    def __init__(self, flattens: frozenset[int]) -> None:
        super().__init__()
        self.flattens = flattens


def index_of(order: Order) -> tuple[int, ...]:
    return order.index if isinstance(order, Shuffled) else ()


def all_flattens(*orders: Order) -> frozenset[int]:
    return frozenset().union(*(order.flattens for order in orders if isinstance(order, Shuffled)))


def shuffled(leaf: Leaf, value: np.ndarray, order: Shuffled) -> np.ndarray:
    """The rows of a weight as the features of its input stand now."""
    if len(value) != len(order.index):
        raise ModelFileError(
            f"the weights do not match the architecture at the layer {leaf.name!r}",
            expected=f"{len(order.index)} rows",
            found=f"shape {value.shape}",
            remedy="give the weights that were saved with this architecture",
        )
    return value[list(order.index)]


def turn_slopes(leaf: Leaf, order: Order) -> None:
    """The slopes of a PReLU have an axis for each of the tensor's but the batch."""
    if isinstance(order, Shuffled):
        if leaf.weights[0].shape[0] > 1:
            leaf.weights = [shuffled(leaf, leaf.weights[0], order)]
    elif order == LAST:
        leaf.weights = [np.moveaxis(leaf.weights[0], 0, -1)]
        if axes := leaf.config.get("shared_axes"):
            rank = leaf.weights[0].ndim
            leaf.config["shared_axes"] = sorted(rank if axis == 1 else axis - 1 for axis in axes)
