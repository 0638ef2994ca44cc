"""Writes models of every kind in the Keras of this Python (3.7 - 3.10): files, a batch, and what this Keras predicts.

    python old_keras_models.py FLAVOUR FOLDER [MODEL.h5=BATCH.npz ...]

FLAVOUR is keras, or tf.keras. Each case gets a folder in FOLDER with its files, in.npz and out.npz; where there is no
FOLDER, none is written. For each MODEL.h5=BATCH.npz the predictions go to BATCH.out.npz. The last line of the output
is {"version": ..., "cases": {name: [file, ...]}}.
"""

import json
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf

if sys.argv[1] == "keras":
    import keras
else:
    keras = tf.keras
tf.get_logger().setLevel("ERROR")

L = keras.layers
TF2 = tf.__version__.startswith("2.")
# In TensorFlow 2.13 - 2.15 only the package of its own tells the version.
RELEASE = getattr(keras, "__version__", None) or __import__("keras").__version__
VERSION = tuple(int(part) for part in RELEASE.split("-")[0].split(".")[:2])


def cnn():
    x = image = L.Input((12, 12, 3), name="image")
    x = L.Conv2D(6, 3, use_bias=False, name="conv1")(x)
    x = L.ReLU(name="relu1")(L.BatchNormalization(name="bn1")(x))
    x = L.DepthwiseConv2D(3, padding="same", activation="relu", name="dw")(x)
    x = L.Dropout(0.5, name="drop")(L.MaxPooling2D(2, name="pool")(x))
    x = L.LeakyReLU(0.1, name="leaky")(L.Flatten(name="flat")(x))
    return keras.models.Model(image, L.Dense(4, activation="softmax", name="prob")(x))


def upward():
    x = image = L.Input((8, 8, 3), name="image")
    x = L.SeparableConv2D(6, 3, strides=2, padding="same", name="sep")(x)
    y = L.Conv2DTranspose(4, 3, strides=2, padding="same", name="up")(L.PReLU(shared_axes=[1, 2], name="prelu")(x))
    z = L.UpSampling2D(2, name="bigger")(L.Conv2D(4, 1, dilation_rate=1, activation="tanh", name="point")(x))
    x = L.Cropping2D(1, name="crop")(L.Concatenate(name="both")([L.ZeroPadding2D(1, name="pad")(y), z_padded(z)]))
    return keras.models.Model(image, L.GlobalAveragePooling2D(name="gap")(x))


def z_padded(z):
    return L.ZeroPadding2D(((1, 1), (1, 1)), name="pad2")(z)


def enlarged():
    x = image = L.Input((5, 6, 3), name="image")
    x = L.UpSampling2D((2, 3), interpolation="bilinear", name="smooth")(L.Conv2D(4, 1, name="point")(x))
    return keras.models.Model(image, L.UpSampling2D((3, 2), interpolation="nearest", name="blocks")(x))


def sequential():
    model = keras.models.Sequential(name="sequential_one")
    model.add(L.Conv2D(4, 3, input_shape=(8, 8, 3), activation="elu", name="conv"))
    model.add(L.AveragePooling2D(2, name="pool"))
    model.add(L.Flatten(name="flat"))
    model.add(L.Dense(3, activation="hard_sigmoid", name="fc"))
    return model


def without_input():
    model = keras.models.Sequential([L.Conv2D(4, 3, name="conv"), L.Flatten(name="flat"), L.Dense(3, name="fc")])
    model.build((None, 8, 8, 3))
    return model


def nested():
    part = L.Input((8, 8, 3), name="part")
    body = keras.models.Model(part, L.BatchNormalization(name="bn")(L.Conv2D(4, 3, name="conv")(part)), name="body")
    head = keras.models.Sequential([L.Flatten(input_shape=(6, 6, 4), name="flat"), L.Dense(3, name="fc")], name="head")
    image = L.Input((8, 8, 3), name="image")
    return keras.models.Model(image, head(body(image)), name="nested")


def shared():
    a, b = L.Input((6, 6, 3), name="a"), L.Input((6, 6, 3), name="b")
    conv = L.Conv2D(4, 3, activation="relu", name="conv")
    one, two = conv(a), conv(b)
    both = L.Add(name="sum")([one, two])
    return keras.models.Model([a, b], [L.Flatten(name="first")(both), L.GlobalMaxPooling2D(name="second")(two)])


def lstm():
    x = series = L.Input((7, 4), name="series")
    x = L.LSTM(5, return_sequences=True, name="first")(x)
    x = L.TimeDistributed(L.Dense(4, name="each"), name="steps")(x)
    return keras.models.Model(series, L.Dense(1, name="fc")(L.Bidirectional(L.LSTM(3, name="inner"), name="both")(x)))


def words():
    x = text = L.Input((9,), dtype="int32", name="words")
    x = L.GRU(4, name="gru")(L.Embedding(6, 3, mask_zero=True, name="table")(x))
    return keras.models.Model(text, L.Dense(1, activation="sigmoid", name="score")(x))


def operations():
    x, y = L.Input((4, 4, 4), name="x"), L.Input((4, 4, 4), name="y")
    a = tf.nn.relu6(x / 127.5 - 1.0) + 2.0 * y
    b = tf.concat([1.0 - a, tf.maximum(y, x), tf.nn.depth_to_space(tf.concat([y, x], -1), 2)[:, ::2, ::2]], axis=-1)
    c = tf.reshape(tf.transpose(b[:, 1:, :3], (0, 2, 1, 3)), (-1, 9, b.shape[-1]))
    d = tf.reduce_mean(c, axis=1, keepdims=True) * tf.constant(np.arange(b.shape[-1], dtype="float32"))
    e = tf.squeeze(tf.nn.softmax(d), 1)
    first, second = tf.split(e, [5, e.shape[-1] - 5], axis=-1)
    low = tf.clip_by_value(tf.sqrt(tf.abs(second)) ** 2.0, 0.0, 0.9)
    return keras.models.Model([x, y], [first @ tf.ones((5, 2)), tf.nn.leaky_relu(-low, 0.1), tf.reduce_max(a, [1, 2])])


def mobilenet_v3():
    return keras.applications.MobileNetV3Small(
        input_shape=(64, 64, 3), alpha=0.35, weights=None, classes=10, minimalistic=False
    )


def compiled(model):
    """As a checkpoint in the middle of a training: with its optimizer."""
    model.compile("adam", "mse")
    targets = [np.zeros((2, *one.shape.as_list()[1:]), "float32") for one in model.outputs]
    model.fit(batch(model, 2), targets, verbose=0)
    return model


CASES = [cnn, upward, sequential, nested, shared, lstm, words]
if TF2:
    CASES += [without_input, operations]
if VERSION == (2, 8):
    CASES.append(mobilenet_v3)


if sys.argv[1] == "keras" and VERSION < (2, 4):
    CASES.append(enlarged)


def main():
    folder = Path(sys.argv[2])
    cases = {}
    for make in CASES if folder.is_dir() else []:
        keras.backend.clear_session()
        np.random.seed(1)
        model = make()
        model.set_weights([weight(value.shape) for value in model.get_weights()])
        cases[make.__name__] = write(model, folder / make.__name__, make is cnn)
    for item in sys.argv[3:]:
        path, _, feeds = item.rpartition("=")
        keras.backend.clear_session()
        with np.load(feeds) as file:
            arrays = [file[name] for name in file.files]
        save_outputs(keras.models.load_model(path, compile=False), arrays, feeds[:-4] + ".out.npz")
    print(json.dumps({"version": RELEASE, "cases": cases}))


def write(model, folder, with_checkpoint):
    folder.mkdir()
    if with_checkpoint:
        compiled(model).save(str(folder / "checkpoint.h5"))
    feeds = batch(model, 3)
    np.savez(str(folder / "in.npz"), **{"x{}".format(i): value for i, value in enumerate(feeds)})
    save_outputs(model, feeds, str(folder / "out.npz"))
    model.save(str(folder / "complete.h5"), include_optimizer=False)
    (folder / "net.json").write_text(model.to_json())
    model.save_weights(str(folder / "net_weights.h5"))
    if VERSION >= (2, 12):
        # The newer layout of weights, and the archive that it came with.
        (folder / "new").mkdir()
        (folder / "new" / "net.json").write_text(model.to_json())
        model.save_weights(str(folder / "new" / "net.weights.h5"))
        model.save(str(folder / "archive.keras"), save_format="keras")
    if VERSION == (2, 12):
        # This release writes HDF5 whatever the name ends in.
        model.save(str(folder / "hdf5.keras"))
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def batch(model, size):
    random = np.random.RandomState(2)
    result = []
    for tensor in model.inputs:
        shape = (size, *tensor.shape.as_list()[1:])
        is_whole = "int" in str(tensor.dtype)
        result.append(random.randint(0, 6, shape).astype("int32" if is_whole else "float32"))
        if not is_whole:
            result[-1] = random.rand(*shape).astype("float32")
    return result


def save_outputs(model, feeds, path):
    outputs = model.predict(feeds if len(feeds) > 1 else feeds[0], verbose=0)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    np.savez(path, **{"y{}".format(i): value for i, value in enumerate(outputs)})


def weight(shape):
    """Kernels that keep the size of what they see; vectors (biases, all of a batch norm) near 1 and positive."""
    if len(shape) == 1:
        return np.random.uniform(0.5, 1.5, shape)
    return np.random.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape)


main()
