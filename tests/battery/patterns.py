"""What a pattern of the battery is, and how its model is built, with seeded weights, in Keras 2 or Keras 3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

IMAGE = (12, 12, 4)
KERAS = {"2": "tf_keras", "3": "keras"}

Build = Callable[..., Any]


@dataclass(frozen=True)
class Pattern:
    """One model of the battery.

    build: called with the Keras module and one symbolic tensor an input; gives the outputs, or a whole model.
    shapes: of one example, an input each. refused: reader -> what the refusal says; such a reader has no form.
    """

    name: str
    build: Build
    shapes: tuple[tuple[int | None, ...], ...] = (IMAGE,)
    spellings: tuple[str, ...] = ("2", "3")
    batch: int | None = None
    dtype: str = "float32"
    refused: Mapping[str, str] = field(default_factory=dict, hash=False)

    # Why its optimized graph holds nodes that compute sizes, where its own are known; empty where it holds none.
    computes_sizes: str = ""

    @property
    def has_free_sizes(self) -> bool:
        """Whether more than the batch is free."""
        return any(None in shape for shape in self.shapes)

    def model(self, keras: ModuleType) -> Any:
        """The model with its weights drawn from a seed of their own."""
        inputs = [
            keras.Input(shape, batch_size=self.batch, name=f"input{i}", dtype=self.dtype)
            for i, shape in enumerate(self.shapes)
        ]
        made = self.build(keras, *inputs)
        model = made if isinstance(made, keras.Model) else keras.Model(inputs[0] if len(inputs) == 1 else inputs, made)
        seed_weights(model)
        return model

    def feeds(self) -> list[np.ndarray]:
        """One batch: floats around zero, so that both sides of each activation are met, or small whole numbers."""
        random = np.random.default_rng(11)
        shapes = [(self.batch or 2, *(size or 10 for size in shape)) for shape in self.shapes]
        if self.dtype == "float32":
            return [random.normal(0, 1.5, shape).astype(np.float32) for shape in shapes]
        return [random.integers(0, 7, shape).astype(self.dtype) for shape in shapes]


def seed_weights(model: Any) -> None:
    """Weights that differ from each other; scales and variances above zero, whole numbers as they are."""
    random = np.random.default_rng(5)
    values = []
    for weight, value in zip(model.weights, model.get_weights(), strict=True):
        name = getattr(weight, "path", weight.name)
        positive = any(part in name for part in ("variance", "gamma", "scale"))
        low, high = (0.5, 1.5) if positive else (-0.4, 0.4)
        is_float = np.issubdtype(value.dtype, np.floating)
        values.append(random.uniform(low, high, value.shape).astype(value.dtype) if is_float else value)
    model.set_weights(values)
