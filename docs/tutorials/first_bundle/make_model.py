"""Makes my_model.h5, a trained classifier of clothes, and my_images/, pictures that it was not trained on."""

from importlib import resources
from pathlib import Path

import keras
import numpy as np
from keras import layers
from PIL import Image

NAMES = ["top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]
EACH = 60

keras.utils.set_random_seed(0)
sample = np.load(resources.files("dnndk_prep.data") / "fashion_mnist_8k.npz")
x_train, x_test = (sample[f"x_{part}"].reshape(-1, 28, 28, 1) for part in ("train", "test"))

x = image = layers.Input((28, 28, 1), name="image")
for name, filters in (("conv1", 16), ("conv2", 32)):
    x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    x = layers.ReLU(name=f"{name}_relu")(x)
x = layers.Flatten(name="flat")(x)
model = keras.Model(image, layers.Dense(10, activation="softmax", name="clothes")(x), name="my_model")

# Trained on 0 to 1: the YAML has to say so, too.
model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train / 255.0, sample["y_train"], epochs=3, batch_size=64, verbose=0)
print("accuracy on the test part:", round(model.evaluate(x_test / 255.0, sample["y_test"], verbose=0)[1], 4))
model.save("my_model.h5")

for label, name in enumerate(NAMES):
    # A class gets its number from the sorted names of the folders: these keep the model's order.
    folder = Path("my_images", f"{label}_{name}")
    folder.mkdir(parents=True, exist_ok=True)
    for i in np.flatnonzero(sample["y_test"] == label)[:EACH]:
        Image.fromarray(x_test[i, :, :, 0]).save(folder / f"{i}.png")
