"""Functions of TensorFlow as activations, in the files of both Kerases: the graph computes what Keras does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf
import tf_keras
from conversion import OLDEST, frozen, optimized, outputs

from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io.load import read_model
from dnndk_prep.keras_io.predict import Predictor

FUNCTIONS = [
    *(tf.nn.log_softmax, tf.nn.softmax, tf.nn.swish, tf.nn.relu6, tf.nn.leaky_relu, tf.nn.elu, tf.nn.gelu),
    *(tf.sigmoid, tf.tanh, tf.exp, tf.identity, tf.nn.softplus, tf.stop_gradient),
]


@pytest.mark.parametrize("module", [keras, tf_keras], ids=["keras3", "keras2"])
def test_functions_of_tensorflow(tmp_path: Path, module: Any) -> None:
    module.utils.set_random_seed(3)
    image = module.layers.Input((3,), name="x")
    heads = [module.layers.Dense(4, activation=function, name=f"d{n}")(image) for n, function in enumerate(FUNCTIONS)]
    model = module.Model(image, heads)
    feed = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)
    wanted = [value.numpy() for value in model(feed)]
    assert all(value.std() > 1e-3 for value in wanted)
    for name in ("m.h5", "m.keras"):
        model.save(tmp_path / name)
        source = read_model(tmp_path / name)
        got = outputs(optimized(frozen(source), [feed], OLDEST), [feed])
        for a, b, again in zip(got, wanted, Predictor(source).predict([feed]), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))
            np.testing.assert_allclose(again, b, rtol=0, atol=1e-5 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
@pytest.mark.parametrize("module", [keras, tf_keras], ids=["keras3", "keras2"])
def test_one_that_keras_does_not_have_is_named(tmp_path: Path, module: Any, name: str) -> None:
    layers = [module.layers.Input((3,)), module.layers.Dense(4, activation=tf.abs, name="d")]
    module.Sequential(layers).save(tmp_path / name)
    with pytest.raises(ModelFileError, match=r"(?s)d: abs as activation.*between two layers"):
        read_model(tmp_path / name)
