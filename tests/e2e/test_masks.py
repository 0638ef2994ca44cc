"""Masks of Keras 3: those of layers, merged ones, those that a model computes; against what Keras 3 predicts."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conversion import assert_within, frozen, outputs
from keras import Input, Model, layers, ops

from dnndk_prep.keras_io.load import read_model
from dnndk_prep.keras_io.predict import Predictor


def words() -> keras.KerasTensor:
    return Input((6,))


def embedded(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Embedding(5, 4, mask_zero=True)(tensor)


def inherited() -> Model:
    tensor = words()
    return Model(tensor, layers.LSTM(3)(layers.Dropout(0.1)(embedded(tensor))))


def of_a_value() -> Model:
    tensor = Input((6, 4))
    return Model(tensor, layers.LSTM(3)(layers.Masking(2.0)(tensor)))


def united(merging: Callable[[], layers.Layer]) -> Callable[[], Model]:
    def make() -> Model:
        a, b = words(), words()
        return Model([a, b], layers.GRU(3)(merging()([embedded(a), embedded(b)])))

    return make


def of_one_of_two() -> Model:
    a, b = words(), words()
    return Model([a, b], layers.GRU(3)(layers.Add()([embedded(a), layers.Embedding(5, 4)(b)])))


def of_each_step() -> Model:
    tensor = Input((2, 6))
    inner = layers.TimeDistributed(layers.Embedding(5, 4, mask_zero=True))(tensor)
    return Model(tensor, layers.TimeDistributed(layers.LSTM(3))(inner))


def into_a_nested_model() -> Model:
    inner, tensor = Input((6, 4)), words()
    return Model(tensor, Model(inner, layers.LSTM(3)(inner))(embedded(tensor)))


def computed_from_another_input() -> Model:
    a, b = Input((6, 4)), Input((6, 4))
    return Model([a, b], layers.LSTM(3)(a, mask=ops.cast(ops.relu(ops.sum(b, -1) - 8), "bool")))


def of_another_embedding() -> Model:
    """Both masks are of layers, but the LSTM's tensors carry the other one."""
    a, b = words(), words()
    return Model([a, b], layers.LSTM(3)(embedded(a), mask=embedded(b)._keras_mask))


def of_a_softmax() -> Model:
    a, b = Input((6, 4)), Input((6, 4))
    return Model([a, b], layers.Softmax()(a, mask=ops.cast(ops.relu(b - 2), "bool")))


CASES = {
    "inherited": inherited,
    "of a value": of_a_value,
    "added": united(layers.Add),
    "multiplied": united(layers.Multiply),
    "the larger": united(layers.Maximum),
    "the smaller": united(layers.Minimum),
    "side by side": united(layers.Concatenate),
    "one after the other": united(partial(layers.Concatenate, axis=1)),
    "of one of two": of_one_of_two,
    "of each step": of_each_step,
    "into a nested model": into_a_nested_model,
    "computed from another input": computed_from_another_input,
    "of another embedding": of_another_embedding,
    "of a softmax": of_a_softmax,
}


# An .h5 tells no modules: operations must be told from layers of the same name.
OF_H5 = ("side by side", "computed from another input")


@pytest.mark.parametrize(("case", "form"), [*((case, "keras") for case in CASES), *((case, "h5") for case in OF_H5)])
def test_the_graph_masks_what_keras_masks(case: str, form: str, tmp_path: Path):
    keras.utils.set_random_seed(0)
    model = CASES[case]()
    model.save(tmp_path / f"net.{form}")
    random = np.random.default_rng(0)
    feeds = [random.integers(0, 5, (4, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
    wanted = tf.nest.flatten(model.predict(feeds if len(feeds) > 1 else feeds[0], verbose=0))
    source = read_model(tmp_path / f"net.{form}")
    assert_within(Predictor(source).predict(feeds), wanted)
    assert_within(outputs(frozen(source), feeds), wanted)
