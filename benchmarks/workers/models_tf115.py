"""Writes the networks as .h5 files with TensorFlow 1.15: models_tf115.py FOLDER NAME ... (Python 3.7).

Both flows read these files: tf.keras of 1.15 reads none that today's Keras writes.
"""

from __future__ import annotations

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

# What a short try of the benchmark takes.
SETTINGS = {"Small": ("MobileNetV2", {"alpha": 0.35, "input_shape": (64, 64, 3), "classes": 10})}


def random_weights(model: tf.keras.Model) -> list:
    """Values that keep activations at the size of one; statistics of batch norms that a fold has to take in."""
    random = np.random.RandomState(0)
    values = []
    for weight in model.weights:
        shape, name = weight.shape.as_list(), weight.name.split("/")[-1]
        if "kernel" in name:
            # A depthwise kernel sums over its window, any other over all axes but the last.
            inputs = np.prod(shape[:2] if "depthwise" in name else shape[:-1])
            values.append(random.normal(0, np.sqrt(1 / inputs), shape))
        elif name.startswith(("gamma", "moving_variance")):
            values.append(random.uniform(0.5, 1.5, shape))
        else:
            values.append(random.uniform(-0.1, 0.1, shape))
    return values


def main() -> None:
    folder, names = sys.argv[1], sys.argv[2:]
    for name in names:
        tf.keras.backend.clear_session()
        network, settings = SETTINGS.get(name, (name, {}))
        model = getattr(tf.keras.applications, network)(weights=None, **settings)
        model.set_weights(random_weights(model))
        model.save(os.path.join(folder, name + ".h5"), include_optimizer=False)  # noqa: PTH118


if __name__ == "__main__":
    main()
