"""Models for the bundles, and what runs in the containers' TensorFlows beside the bundles' own scripts."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops


def everything() -> keras.Model:
    """What the quantizer for TensorFlow 2 trips over: activations of Keras 3's own, operations, a shared layer, a model
    in a model, two branches of the same shapes, two outputs."""
    image = layers.Input((16, 16, 3), name="image")
    a = layers.Conv2D(8, 3, padding="same", activation="relu6", name="left")(image)
    b = layers.Conv2D(8, 3, padding="same", activation=layers.LeakyReLU(0.1), name="right")(image)
    x = layers.PReLU(shared_axes=[1, 2], name="slope")(layers.Add(name="added")([a, b]))
    x = layers.Concatenate(name="both")([x, layers.Conv2D(8, 3, padding="same", activation="swish", name="swish")(x)])
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    gate = layers.Dense(4, activation="relu", name="excite")(gate)
    x = layers.Multiply(name="scaled")([x, layers.Dense(16, activation="hard_sigmoid", name="gate")(gate)])
    x = ops.hard_silu(ops.relu(x * 0.5 + 1.0) - 0.25)
    x = (
        ops.sqrt(ops.abs(x) + 1.0)
        / ops.expand_dims(ops.sum(layers.Activation("mish", name="mish")(x[:, :, :, :4]), axis=-1) ** 2.0 + 1.0, -1)
        + x
    )
    shared = layers.Conv2D(8, 3, activation="hard_swish", name="shared")
    x = ops.concatenate([shared(x), shared(layers.MaxPooling2D(3, 1, "same", name="pool")(x))], axis=-1)
    x = ops.mean(ops.transpose(body()(x), (0, 2, 1, 3)), axis=(1, 2))
    outputs = [layers.Dense(5, activation="softmax", name="prob")(x), layers.Dense(3, name="raw")(x)]
    model = keras.Model(image, outputs, name="everything")
    random = np.random.default_rng(0)
    model.set_weights([_weight(random, value.shape) for value in model.get_weights()])
    return model


def body() -> keras.Model:
    """A part of a MobileNet, frozen."""
    part = layers.Input((14, 14, 16), name="part")
    x = layers.DepthwiseConv2D(3, use_bias=False, name="depthwise")(part)
    x = layers.ReLU(6.0, name="relu6")(layers.BatchNormalization(name="norm")(x))
    x = layers.BatchNormalization(name="norm_2")(layers.Conv2D(8, 1, use_bias=False, name="pointwise")(x))
    model = keras.Model(part, x, name="body")
    model.trainable = False
    return model


def channels_first() -> keras.Model:
    parts = [layers.Input((3, 12, 10), name="image"), layers.Conv2D(4, 3, data_format="channels_first", name="conv")]
    parts += [layers.ReLU(name="relu"), layers.MaxPooling2D(2, data_format="channels_first", name="pool")]
    return keras.Sequential([*parts, layers.Flatten(name="flat"), layers.Dense(3, name="fc")], name="first")


def _weight(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) == 1:
        return random.uniform(0.5, 1.5, shape)
    return random.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape)


# Opens every float model beside it, and writes what it predicts; runs in Keras 2.8 and 2.12.
PREDICT = """
import glob, os
import numpy as np, tensorflow as tf
for path in sorted(glob.glob(os.path.join(os.path.dirname(__file__), "*.h5"))):
    model = tf.keras.models.load_model(path)
    with np.load(path[:-3] + ".npz") as file:
        fed = [file["in_%d" % i] for i in range(len(model.inputs))]
    got = model(fed if len(fed) > 1 else fed[0], training=False)
    got = got if isinstance(got, (list, tuple)) else [got]
    np.savez(path[:-3] + "." + tf.__version__ + ".npz", *[value.numpy() for value in got])
"""

# Stands in for the vendor's package: records how it is called, and gives the float model back.
VITIS_QUANTIZE = """
import json
import numpy as np

class VitisQuantizer(object):
    def __init__(self, model, **settings):
        self.model, self.settings = model, settings

    def quantize_model(self, calib_dataset=None, **settings):
        facts = {"layers": len(self.model.layers), "settings": [self.settings, settings]}
        facts["shape"], facts["dtype"] = list(np.shape(calib_dataset)), str(calib_dataset.dtype)
        with open("called.json", "w") as file:
            json.dump(facts, file)
        return self.model
"""
# Module -> text.
TF2_PACKAGE = {"__init__": "", "vitis_quantize": VITIS_QUANTIZE}
