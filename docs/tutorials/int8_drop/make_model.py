"""Makes clothes.npz and clothes.h5: a classifier that is good in float and bad in int8."""

from importlib import resources

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(0)
sample = np.load(resources.files("dnndk_prep.data") / "fashion_mnist_8k.npz")
data = {f"x_{part}": sample[f"x_{part}"].reshape(-1, 28, 28, 1) for part in ("train", "test")}
data |= {f"y_{part}": sample[f"y_{part}"].astype(np.int64) for part in ("train", "test")}
np.savez("clothes.npz", **data)

x = image = layers.Input((28, 28, 1), name="image")
x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="conv1")(x)
x = layers.BatchNormalization(momentum=0.9, name="conv1_bn")(x)
x = layers.MaxPooling2D(2, name="pool")(x)
x = layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2")(x)
x = layers.BatchNormalization(momentum=0.9, name="conv2_bn")(x)
x = layers.Flatten(name="flat")(x)
model = keras.Model(image, layers.Dense(10, activation="softmax", name="prob")(x), name="clothes")

# Raw pixels, 0 to 255, and a first step that is too large: some channels never give anything but zero again.
model.compile(keras.optimizers.Adam(0.03), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(data["x_train"], data["y_train"], epochs=1, batch_size=64, verbose=0)
model.optimizer.learning_rate = 0.002
model.fit(data["x_train"], data["y_train"], epochs=2, batch_size=64, verbose=0)
print("accuracy on the test part:", round(model.evaluate(data["x_test"], data["y_test"], verbose=0)[1], 4))
model.save("clothes.h5")
