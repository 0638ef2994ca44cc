"""Makes fashion.npz, ffnn.h5 and cnn.h5: two networks for the same images with the same input and output."""

from importlib import resources

import keras
import numpy as np
from keras import layers

EPOCHS = 4


def inputs() -> keras.KerasTensor:
    return layers.Input((784,), name="input_input")


def ffnn() -> keras.Model:
    """Dense layers over the pixels as they come."""
    x = pixels = inputs()
    x = layers.Dropout(0.2, name="dropout")(layers.Dense(128, activation="relu", name="hidden")(x))
    return keras.Model(pixels, layers.Dense(10, activation="softmax", name="output")(x), name="ffnn")


def cnn() -> keras.Model:
    """The same pixels, as an image again."""
    x = pixels = inputs()
    x = layers.Reshape((28, 28, 1), name="image")(x)
    x = layers.MaxPooling2D(2, name="pool1")(layers.Conv2D(16, 3, activation="relu", name="conv1")(x))
    x = layers.MaxPooling2D(2, name="pool2")(layers.Conv2D(32, 3, activation="relu", name="conv2")(x))
    x = layers.Dropout(0.2, name="dropout")(layers.Flatten(name="flat")(x))
    return keras.Model(pixels, layers.Dense(10, activation="softmax", name="output")(x), name="cnn")


sample = np.load(resources.files("dnndk_prep.data") / "fashion_mnist_8k.npz")
data = {f"x_{part}": (sample[f"x_{part}"].reshape(-1, 784) / 255).astype(np.float32) for part in ("train", "test")}
data |= {f"y_{part}": sample[f"y_{part}"].astype(np.int64) for part in ("train", "test")}
np.savez("fashion.npz", **data)

for make in (ffnn, cnn):
    keras.utils.set_random_seed(0)
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(data["x_train"], data["y_train"], epochs=EPOCHS, batch_size=64, verbose=0)
    print(model.name, "on the test part:", model.evaluate(data["x_test"], data["y_test"], verbose=0)[1])
    model.save(f"{model.name}.h5")
