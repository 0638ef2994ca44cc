import keras.src.datasets.imdb as keras_imdb
import numpy as np
import pytest
from keras.datasets import cifar10 as keras_cifar10

from dnndk_prep.data.datasets import open_dataset
from dnndk_prep.errors import ModelFileError


def test_an_imdb_file_gives_what_keras_gives(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    reviews = np.empty(40, object)
    reviews[:] = [random.integers(1, 40_000, random.integers(1, 300)).tolist() for _ in range(40)]
    path = tmp_path / "imdb.npz"
    np.savez(path, x_train=reviews, y_train=np.arange(40), x_test=reviews[:9], y_test=np.arange(9))
    monkeypatch.setattr(keras_imdb, "get_file", lambda *_, **__: str(path))
    ours, theirs = open_dataset("imdb", path, seed=0), open_dataset("imdb", seed=0)
    for mine, other in ((ours.train, theirs.train), (ours.test, theirs.test)):
        np.testing.assert_array_equal(mine.labels, other.labels)
        for i in range(len(mine)):
            np.testing.assert_array_equal(mine.load(i), other.load(i))


def test_cifar10_of_keras(monkeypatch):
    x, y = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8), np.array([[3], [1], [2]])
    monkeypatch.setattr(keras_cifar10, "load_data", lambda: ((x, y), (x[:1], y[:1])))
    dataset = open_dataset("cifar10", seed=0)
    assert dataset.train.labels.tolist() == [3, 1, 2]
    assert dataset.class_names[3] == "cat"
    np.testing.assert_array_equal(dataset.train.load(1), x[1])


def test_a_failed_download_says_what_to_do(monkeypatch):
    def fail(*_, **__):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras_cifar10, "load_data", fail)
    monkeypatch.setattr(keras_imdb, "get_file", fail)
    for name in ("cifar10", "imdb"):
        with pytest.raises(ModelFileError, match=r"(?s)URL fetch failure.*dataset\.path"):
            open_dataset(name, seed=0)
