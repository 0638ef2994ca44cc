"""Runs in the Python of an old Keras: builds small models, saves them, and stores what they predict.

Call: old_keras_worker.py FOLDER ORDER NAME...; ORDER is th or tf, the backend comes from KERAS_BACKEND. Works with
Keras 1.2 and 2.3.
"""

# ruff: noqa: N812, PTH118, PTH123, UP031, RUF005, F401
import os
import sys

import numpy as np

if os.environ["KERAS_BACKEND"] == "theano":
    # Keras 1 uses it without importing it, and later Theanos do not import it either.
    import theano.ifelse

import keras
from keras import backend as K
from keras import layers as L
from keras.models import Model, Sequential

IS_FIRST = keras.__version__.startswith("1.")


def shape(rows, cols, channels):
    return (channels, rows, cols) if ORDER == "th" else (rows, cols, channels)


def axis():
    return 1 if ORDER == "th" else 3


def lenet():
    model = Sequential()
    model.add(L.Convolution2D(5, 4, 3, activation="relu", input_shape=shape(17, 14, 3), name="conv1"))
    model.add(L.MaxPooling2D((2, 3), name="pool"))
    model.add(L.Convolution2D(6, 2, 3, subsample=(2, 1), bias=False, name="conv2"))
    model.add(L.BatchNormalization(axis=axis(), name="bn_image"))
    model.add(L.Activation("relu"))
    model.add(L.Flatten())
    model.add(L.Dropout(0.5))
    if K.backend() == "theano":
        # On TensorFlow Keras 1 does not know how many features a Flatten gives.
        model.add(L.BatchNormalization(name="bn_flat"))
    model.add(L.Dense(7, activation="tanh", name="dense1"))
    model.add(L.Dense(4, activation="softmax", name="dense2"))
    return model


def padded():
    model = Sequential()
    model.add(L.Convolution2D(4, 3, 3, border_mode="same", input_shape=shape(12, 15, 2), activation="relu"))
    model.add(L.Convolution2D(5, 3, 5, border_mode="same", subsample=(2, 3), activation="relu"))
    model.add(L.MaxPooling2D((3, 2), strides=(2, 1), border_mode="same"))
    model.add(L.Convolution2D(3, 2, 4, border_mode="same"))
    model.add(L.AveragePooling2D((2, 2), strides=(1, 1)))
    model.add(L.ELU(0.7))
    model.add(L.Flatten())
    model.add(L.Dense(3))
    return model


def branches():
    image = L.Input(shape(10, 13, 3), name="image")
    x = L.Convolution2D(4, 3, 3, name="stem")(L.ZeroPadding2D((2, 1))(image))
    a = L.AtrousConvolution2D(4, 2, 3, atrous_rate=(2, 2), activation="relu", name="atrous")(x)
    b = L.Convolution2D(4, 3, 5, name="side")(x)
    a = L.BatchNormalization(axis=axis(), name="bn_a")(a)
    # A slip that many models have: over the last axis, whatever it is.
    b = L.BatchNormalization(name="bn_b")(b)
    a = L.Cropping2D(((0, 0), (1, 0)))(a)
    b = L.Cropping2D(((0, 0), (1, 0)))(b)
    both = L.merge([a, b], mode="concat", concat_axis=axis(), name="both")
    total = L.merge([a, b], mode="sum", name="total")
    peak = L.merge([total, a], mode="max", name="peak")
    up = L.UpSampling2D((1, 2))(L.LeakyReLU(0.2)(peak))
    flat = L.merge([L.Flatten()(both), L.Flatten()(up), L.GlobalAveragePooling2D()(total)], mode="concat", name="flat")
    score = L.Dense(3, activation="sigmoid", name="score")(flat)
    other = L.Dense(2, name="other")(L.PReLU(name="slopes")(L.GlobalMaxPooling2D()(L.PReLU(name="prelu")(both))))
    return Model(input=image, output=[score, other])


def reshaped():
    model = Sequential()
    model.add(L.Convolution2D(4, 3, 2, input_shape=shape(8, 9, 2)))
    model.add(L.Reshape((4, 48) if ORDER == "th" else (48, 4)))
    model.add(L.Permute((2, 1)))
    model.add(L.Dropout(0.2))
    model.add(L.LSTM(3))
    model.add(L.Dense(2))
    return model


def heads():
    """What is flattened goes to a layer that needs the old order, and to an output."""
    image = L.Input(shape(6, 5, 2), name="image")
    flat = L.Flatten(name="flat")(L.Convolution2D(3, 2, 2, name="conv")(image))
    again = L.Reshape((3, 20))(flat)
    return Model(input=image, output=[L.GRU(2)(again), L.Dense(2)(flat), flat])


def nested():
    body = Sequential(name="body")
    body.add(L.Convolution2D(4, 3, 2, input_shape=shape(7, 9, 3), name="c"))
    body.add(L.BatchNormalization(axis=axis(), name="n"))
    body.add(L.Flatten(name="f"))
    a, b = L.Input(shape(7, 9, 3), name="a"), L.Input(shape(7, 9, 3), name="b")
    inner = L.Input((160,), name="vector")
    head = Model(input=inner, output=L.Dense(3, name="d")(L.Activation("relu")(inner)), name="head")
    x, y = head(body(a)), head(body(b))
    return Model(input=[a, b], output=L.merge([x, y], mode="mul", name="product"))


def stacked():
    top = Sequential()
    top.add(L.Flatten(input_shape=shape(5, 4, 3)))
    top.add(L.Dense(4, activation="relu"))
    bottom = Sequential()
    bottom.add(L.Convolution2D(3, 3, 3, input_shape=shape(7, 6, 2)))
    model = Sequential()
    model.add(bottom)
    model.add(top)
    model.add(L.Dense(2))
    return model


def merged():
    left, right = Sequential(), Sequential()
    left.add(L.Convolution2D(3, 2, 2, input_shape=shape(6, 5, 2), name="left_conv"))
    left.add(L.Flatten(name="left_flat"))
    right.add(L.Dense(5, input_dim=4, name="right_dense"))
    model = Sequential()
    model.add(L.Merge([left, right], mode="concat", name="joined"))
    model.add(L.Dense(3, name="last"))
    return model


def volume():
    size = (2, 5, 6, 7) if ORDER == "th" else (5, 6, 7, 2)
    model = Sequential()
    model.add(L.Convolution3D(3, 2, 3, 2, input_shape=size, subsample=(1, 1, 2)))
    model.add(L.MaxPooling3D((2, 1, 1)))
    model.add(L.Flatten())
    model.add(L.Dense(2))
    return model


def widened():
    image = L.Input(shape(5, 4, 2), name="image")
    rows, cols, channels = 7, 6, 3
    x = L.Deconvolution2D(3, 3, 3, output_shape=(None,) + shape(rows, cols, channels), border_mode="valid")(image)
    return Model(input=image, output=L.Convolution2D(2, 1, 1, activation="sigmoid")(x))


def separable():
    image = L.Input(shape(9, 8, 3), name="image")
    x = L.SeparableConvolution2D(4, 3, 2, depth_multiplier=2, border_mode="same", subsample=(2, 2))(image)
    return Model(input=image, output=L.Dense(2)(L.Flatten()(x)))


def words():
    model = Sequential()
    model.add(L.Embedding(7, 5, input_length=12, dropout=0.1))
    model.add(L.Convolution1D(4, 3, border_mode="same", activation="relu"))
    model.add(L.AtrousConvolution1D(4, 2, atrous_rate=2))
    model.add(L.MaxPooling1D(2))
    model.add(L.LSTM(3, return_sequences=True, dropout_W=0.1, dropout_U=0.1))
    model.add(L.Bidirectional(L.GRU(3, return_sequences=True)))
    model.add(L.TimeDistributed(L.Dense(3, activation="tanh")))
    model.add(L.LSTM(3, return_sequences=True, consume_less="gpu"))
    model.add(L.SimpleRNN(3))
    model.add(L.Dense(1, activation="linear"))
    return model


def series():
    """Each step of a series by itself."""
    size = (4,) + shape(7, 6, 2)
    model = Sequential()
    model.add(L.TimeDistributed(L.Convolution2D(3, 3, 2, activation="relu"), input_shape=size))
    model.add(L.TimeDistributed(L.MaxPooling2D((2, 1))))
    model.add(L.TimeDistributed(L.Flatten()))
    model.add(L.LSTM(3))
    model.add(L.Dense(2))
    return model


def first_steps():
    """Keras 2: both kinds of Flatten, padding that lies elsewhere, kernels that are turned before."""
    order = "channels_first" if ORDER == "th" else "channels_last"
    image = L.Input(shape(12, 9, 3), name="image")
    x = L.Conv2D(4, (3, 2), strides=(2, 1), padding="same", activation="relu", data_format=order, name="conv")(image)
    x = L.BatchNormalization(axis=axis(), name="bn")(x)
    d = L.DepthwiseConv2D((3, 2), data_format=order, name="depthwise")(x)
    s = L.SeparableConv2D(4, (3, 2), data_format=order, name="separable")(x)
    t = L.Conv2DTranspose(2, (2, 3), strides=(2, 1), data_format=order, name="transposed")(
        L.Concatenate(axis())([d, s])
    )
    plain, turning = L.Flatten(data_format="channels_last")(t), L.Flatten(data_format=order)(t)
    inner = Sequential([L.Dense(4, input_shape=(160,)), L.BatchNormalization(), L.Dense(3)], name="inner")
    return Model(image, [L.Dense(3, name="after_plain")(plain), inner(turning), inner(plain)], name="steps")


def tall():
    order = "channels_first" if ORDER == "th" else "channels_last"
    part = L.Input(shape(8, 7, 2), name="part")
    convolved = L.Conv2D(3, (2, 3), data_format=order, name="conv", trainable=False)(part)
    body = Model(part, L.BatchNormalization(axis=axis(), name="bn")(convolved), name="body")
    image = L.Input(shape(8, 7, 2), name="image")
    x = L.Softmax(axis=axis())(body(image))
    return Model(image, L.Dense(2)(L.Flatten(data_format="channels_last")(x)), name="tall")


def set_weights(model, gain):
    """Kernels that keep the size of what they see, or make it grow by `gain`; vectors near 1."""
    random = np.random.RandomState(0)
    values = []
    for value in model.get_weights():
        if value.ndim == 1:
            values.append(random.uniform(0.5, 1.5, value.shape))
        else:
            size = np.sqrt(np.prod(value.shape) / max(value.shape[-1], 1))
            values.append(random.normal(0, gain / size, value.shape))
    model.set_weights(values)


def save(name, folder):
    model = globals()[name]()
    # What passes saturated gates fades.
    set_weights(model, 4 if name == "words" else 1)
    random = np.random.RandomState(1)
    inputs = model.inputs if hasattr(model, "inputs") else [model.input]
    feeds = []
    for tensor in inputs:
        size = (4,) + tuple(int(n) for n in K.int_shape(tensor)[1:])
        feeds.append(random.randint(0, 7, size) if name == "words" else random.normal(0, 1, size).astype("float32"))
    outputs = model.predict(feeds if len(feeds) > 1 else feeds[0])
    outputs = outputs if isinstance(outputs, list) else [outputs]
    arrays = {"x%d" % i: value for i, value in enumerate(feeds)}
    arrays.update({"y%d" % i: value for i, value in enumerate(outputs)})
    np.savez(os.path.join(folder, name + ".npz"), **arrays)
    model.save(os.path.join(folder, name + ".h5"))
    model.save_weights(os.path.join(folder, name + ".weights.h5"))
    with open(os.path.join(folder, name + ".json"), "w") as file:
        file.write(model.to_json())


if __name__ == "__main__":
    ORDER = sys.argv[2]
    if IS_FIRST:
        K.set_image_dim_ordering(ORDER)
    else:
        K.set_image_data_format("channels_first" if ORDER == "th" else "channels_last")
    for chosen in sys.argv[3:]:
        save(chosen, sys.argv[1])
        if K.backend() == "tensorflow":
            K.clear_session()
