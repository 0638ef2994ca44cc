"""Makes sign.npz and sign.h5: which sign have ten numbers that are all positive or all negative?"""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(0)
random = np.random.default_rng(0)


def examples(count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` rows of ten numbers of one sign; the label is 1 where they are positive."""
    labels = random.integers(0, 2, count)
    sizes = random.uniform(0.1, 10, (count, 10))
    return (sizes * np.where(labels, 1, -1)[:, None]).astype(np.float32), labels


x_train, y_train = examples(2000)
x_test, y_test = examples(500)
np.savez("sign.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)

model = keras.Sequential(
    [
        layers.Input((10,), name="numbers"),
        layers.Dense(8, activation="relu", name="hidden"),
        layers.Dense(2, activation="softmax", name="sign"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=5, verbose=0)
print("accuracy on the test part:", model.evaluate(x_test, y_test, verbose=0)[1])
model.save("sign.h5")
