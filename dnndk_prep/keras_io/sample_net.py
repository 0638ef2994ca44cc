"""The network of the shipped example: small, and made of what every DPU runs."""

from __future__ import annotations

import keras
from keras import layers

from dnndk_prep.errors import ModelFileError

# The first convolution and the pooling halve height and width.
_SMALLEST = 8


def build_sample_cnn(input_shape: tuple[int, int, int], classes: int, seed: int) -> keras.Model:
    """An untrained classifier of images (height, width, channels), with softmax over `classes`.

    Channel counts are multiples of 16, the DPU's channel parallelism; each batch norm follows its convolution directly,
    as the quantizers fold it only there. `seed` decides the weights. Raises ModelFileError for a shape that is too
    small or less than two classes.
    """
    if len(input_shape) != 3 or min(input_shape[:2]) < _SMALLEST or classes < 2:
        raise ModelFileError(
            "the sample network cannot learn this dataset",
            expected=f"images of at least {_SMALLEST}x{_SMALLEST} and 2 classes or more",
            found=f"examples of shape {tuple(input_shape)}, {classes} class(es)",
            remedy="give a trained model of your own: model.path",
        )
    keras.utils.set_random_seed(seed)
    image = x = keras.Input(input_shape, name="input_1")
    x = _block(x, layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="conv1"))
    x = _block(x, layers.Conv2D(32, 3, padding="same", use_bias=False, name="conv2"))
    x = layers.MaxPooling2D(2, name="pool2")(x)
    x = _block(x, layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="conv3_dw"))
    x = _block(x, layers.Conv2D(64, 1, padding="same", use_bias=False, name="conv3_pw"))
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.5, seed=seed, name="dropout")(x)
    x = layers.Dense(classes, name="logits")(x)
    return keras.Model(image, layers.Softmax(name="softmax")(x), name="sample_cnn")


def compile_classifier(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Compile `model` for integer labels; an optimizer that has trained keeps its state."""
    model.compile(
        optimizer=optimizer,
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        # Compiling such a small graph with XLA costs more than it gains.
        jit_compile=False,
    )


def _block(x: keras.KerasTensor, convolution: layers.Layer) -> keras.KerasTensor:
    """Convolution, batch norm, ReLU. Few epochs need a batch norm that forgets quickly: momentum 0.9."""
    name = convolution.name
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(convolution(x))
    return layers.ReLU(name=f"{name}_relu")(x)
