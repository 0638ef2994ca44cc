"""Networks for datasets that are no classified images: label maps, word numbers, plain vectors."""

from __future__ import annotations

import keras
from keras import layers

from dnndk_prep.errors import ModelFileError

# Two poolings on the way down: height and width come back only if 4 divides them.
_STEP = 4


def build_segmenter(input_shape: tuple[int, int, int], classes: int, seed: int) -> keras.Model:
    """An untrained network that gives each pixel of (height, width, channels) a softmax over `classes`.

    Raises ModelFileError unless 4 divides height and width.
    """
    if input_shape[0] % _STEP or input_shape[1] % _STEP:
        raise ModelFileError(
            "the sample segmentation network cannot take this size",
            expected=f"height and width that {_STEP} divides",
            found=f"{input_shape[0]}x{input_shape[1]}",
            remedy="set preprocess.resize or preprocess.crop, or give a trained model: model.path",
        )
    keras.utils.set_random_seed(seed)
    image = keras.Input(input_shape, name="input_1")
    wide = _block(image, 16, "down1")
    middle = _block(layers.MaxPooling2D(2, name="pool1")(wide), 32, "down2")
    x = _block(layers.MaxPooling2D(2, name="pool2")(middle), 32, "bottom")
    x = layers.Concatenate(name="join2")([layers.UpSampling2D(2, name="up2")(x), middle])
    x = _block(x, 32, "back2")
    x = layers.Concatenate(name="join1")([layers.UpSampling2D(2, name="up1")(x), wide])
    x = layers.Conv2D(max(2, classes), 1, name="logits")(_block(x, 16, "back1"))
    return keras.Model(image, layers.Softmax(name="softmax")(x), name="sample_segmenter")


def build_text_classifier(length: int, words: int, classes: int, seed: int) -> keras.Model:
    """An untrained LSTM over `length` word numbers below `words`, with softmax over `classes`."""
    keras.utils.set_random_seed(seed)
    numbers = keras.Input((length,), name="input_1")
    x = layers.Embedding(words, 64, name="embedding")(numbers)
    # Not the fused GPU kernel: what is trained is what the graph of the old TensorFlows computes.
    x = layers.LSTM(64, use_cudnn=False, name="lstm")(x)
    return keras.Model(numbers, layers.Dense(classes, activation="softmax", name="softmax")(x), name="sample_lstm")


def build_vector_classifier(length: int, classes: int, seed: int) -> keras.Model:
    """An untrained network of dense layers over `length` numbers, with softmax over `classes`."""
    keras.utils.set_random_seed(seed)
    vector = keras.Input((length,), name="input_1")
    x = layers.Dense(64, activation="relu", name="dense1")(vector)
    x = layers.Dense(64, activation="relu", name="dense2")(x)
    return keras.Model(vector, layers.Dense(classes, activation="softmax", name="softmax")(x), name="sample_dense")


def _block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Convolution, batch norm, ReLU: in this order the quantizers fold the batch norm."""
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
