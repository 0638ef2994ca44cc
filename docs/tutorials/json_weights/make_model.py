"""Makes what many projects keep of a model: net.json, the architecture, and net_weights.h5; and my_images/."""

from importlib import resources
from pathlib import Path

import numpy as np
import tf_keras
from PIL import Image
from tf_keras import layers

tf_keras.utils.set_random_seed(0)
sample = np.load(resources.files("dnndk_prep.data") / "fashion_mnist_8k.npz")
x_train, x_test = (sample[f"x_{part}"].reshape(-1, 28, 28, 1) for part in ("train", "test"))

net = tf_keras.Sequential(name="net")
net.add(layers.InputLayer((28, 28, 1), name="image"))
net.add(layers.Conv2D(16, 5, strides=2, activation="relu", name="conv"))
net.add(layers.MaxPooling2D(2, name="pool"))
net.add(layers.Flatten(name="flat"))
net.add(layers.Dense(10, name="logits"))
net.add(layers.Activation("softmax", name="clothes"))
net.compile(tf_keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
net.fit(x_train / 255.0, sample["y_train"], epochs=2, batch_size=64, verbose=0)
print("accuracy on the test part:", round(net.evaluate(x_test / 255.0, sample["y_test"], verbose=0)[1], 4))

Path("net.json").write_text(net.to_json())
net.save_weights("net_weights.h5")
Path("my_images").mkdir(exist_ok=True)
for i in range(100):
    Image.fromarray(x_train[i, :, :, 0]).save(Path("my_images", f"{i:03}.png"))
