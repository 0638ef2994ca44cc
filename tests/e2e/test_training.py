import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tf_keras
from tensorflow.python.framework import config as tf_config

from dnndk_prep.data.datasets import open_dataset
from dnndk_prep.data.preprocess import Preprocess
from dnndk_prep.errors import ModelFileError
from dnndk_prep.keras_io import save
from dnndk_prep.keras_io.sample_net import build_sample_cnn
from dnndk_prep.keras_io.train import Examples, train

EPOCHS, BATCH, STEPS = 3, 100, 5
FILES = (save.COMPLETE, save.ARCHITECTURE, save.WEIGHTS, save.CHECKPOINT, save.ARCHIVE, save.HISTORY)


class Stopped(BaseException):
    """Stands for Ctrl-C."""


def examples(stop=lambda call: None):
    """500 training images; `stop` is called with the number of each batch as it is loaded."""
    part = open_dataset("fashion_mnist_sample", seed=0).train
    (x,) = next(part.batches(Preprocess(scale=1 / 255), 500, range(500)))
    calls = iter(range(10**6))

    def load(numbers):
        stop(next(calls))
        return [x[numbers]], part.labels[:500][numbers]

    return Examples(500, load)


def run(scratch, data=None, seed=0, key="data", say=lambda text: None):
    model = build_sample_cnn((32, 32, 3), 10, seed)
    history = train(
        model,
        data or examples(),
        epochs=EPOCHS,
        batch_size=BATCH,
        learning_rate=3e-3,
        seed=seed,
        scratch=scratch,
        key=key,
        say=say,
    )
    return model, history


def saved(folder, model, history):
    folder.mkdir()
    save.save_all(model, folder, history)
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    model, history = run(folder / "scratch")
    return folder / "saved", model, history, saved(folder / "saved", model, history)


def stop_at(call):
    def stop(now):
        if now == call:
            raise Stopped

    return stop


@pytest.mark.parametrize("call", [STEPS + 2, 2 * STEPS + 4], ids=["second epoch", "last batch"])
def test_an_interrupted_training_ends_bit_for_bit_as_an_undisturbed_one(tmp_path, undisturbed, call):
    with pytest.raises(Stopped):
        run(tmp_path / "scratch", examples(stop_at(call)))
    said, loaded = [], []
    model, history = run(tmp_path / "scratch", examples(loaded.append), say=said.append)
    assert said[0] == f"training goes on after epoch {call // STEPS} from its checkpoint"
    assert len(loaded) == STEPS * (EPOCHS - call // STEPS)
    assert history == undisturbed[2]
    assert saved(tmp_path / "saved", model, history) == undisturbed[3]


def test_a_killed_process_is_resumed_by_another(tmp_path, undisturbed):
    code = "import os, sys; from pathlib import Path; import test_training as t\n"
    code += "t.run(Path(sys.argv[1]), t.examples(lambda call: os._exit(9) if call == t.STEPS + 3 else None))"
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    command = [sys.executable, "-c", code, str(tmp_path / "scratch")]
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode == 9
    model, history = run(tmp_path / "scratch")
    assert saved(tmp_path / "saved", model, history) == undisturbed[3]


def test_a_checkpoint_that_is_not_its_own_is_not_used(tmp_path, undisturbed):
    def anew(**changes):
        said = []
        _, history = run(tmp_path, say=said.append, **changes)
        return said[0], history

    run(tmp_path)
    text, history = anew(key="other data")
    assert "not used: it was trained with other data" in text
    assert history == undisturbed[2]
    assert "not used" in anew(seed=1)[0]
    assert anew(seed=1)[0].startswith("training goes on after epoch 3")

    (checkpoint,) = tmp_path.glob("keras_chkpt_*.h5")
    with checkpoint.open("ab") as stream:
        stream.write(b"x")
    text, history = anew()
    assert "not used" in text
    assert history == undisturbed[2]

    (checkpoint,) = tmp_path.glob("keras_chkpt_*.h5")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    assert "was changed after it was written" in anew()[0]
    (tmp_path / "resume.json").write_text("{")
    assert "cannot be read" in anew()[0]


def test_each_epoch_is_a_line_where_there_is_no_terminal(tmp_path, capfd):
    said = []
    run(tmp_path, say=said.append)
    assert [line.split(":")[0] for line in said] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all("loss" in line and "accuracy" in line for line in said)
    assert "HDF5" not in capfd.readouterr().err


def test_training_leaves_tensorflow_as_it_was(undisturbed):
    assert not tf_config.is_op_determinism_enabled()


def test_the_saved_forms_hold_the_same_model(undisturbed):
    folder, model, history, _ = undisturbed
    x = next(open_dataset("fashion_mnist_sample", seed=0).test.batches(Preprocess(scale=1 / 255), 20))[0]
    wanted = model.predict(x, verbose=0)
    rebuilt = keras.models.model_from_json((folder / save.ARCHITECTURE).read_text())
    rebuilt.load_weights(folder / save.WEIGHTS)
    complete, checkpoint, archive = (
        keras.models.load_model(folder / name) for name in (save.COMPLETE, save.CHECKPOINT, save.ARCHIVE)
    )
    for loaded in (rebuilt, complete, checkpoint, archive):
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), wanted)
    for mine, theirs in zip(model.optimizer.variables, archive.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    for name in (save.COMPLETE, save.CHECKPOINT):
        with h5py.File(folder / name) as file:
            assert len(file["optimizer_weights"].attrs["weight_names"]) == len(model.optimizer.variables)
            for mine in model.optimizer.variables:
                np.testing.assert_array_equal(mine.numpy(), file["optimizer_weights"][mine.path][()])
    assert int(model.optimizer.iterations) == EPOCHS * STEPS
    assert json.loads((folder / save.HISTORY).read_text()) == history
    assert len(history["loss"]) == EPOCHS


def test_the_weights_file_has_the_layout_that_keras_2_reads(undisturbed):
    folder, model, _, _ = undisturbed
    with h5py.File(folder / save.WEIGHTS) as file:
        assert {"layer_names", "backend", "keras_version"} <= set(file.attrs)
        assert "optimizer_weights" not in file
        for name in file.attrs["layer_names"]:
            assert "weight_names" in file[name].attrs
    twin = keras_2_twin()
    twin.load_weights(folder / save.WEIGHTS)
    x = next(open_dataset("fashion_mnist_sample", seed=0).test.batches(Preprocess(scale=1 / 255), 20))[0]
    np.testing.assert_allclose(twin.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)


def keras_2_twin():
    """The sample network, written again in Keras 2."""
    layers = tf_keras.layers

    def block(x, layer):
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(layer(x)))

    image = x = tf_keras.Input((32, 32, 3))
    x = block(x, layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False))
    x = block(x, layers.Conv2D(32, 3, padding="same", use_bias=False))
    x = layers.MaxPooling2D(2)(x)
    x = block(x, layers.DepthwiseConv2D(3, padding="same", use_bias=False))
    x = block(x, layers.Conv2D(64, 1, padding="same", use_bias=False))
    x = layers.Dense(10)(layers.Flatten()(x))
    return tf_keras.Model(image, layers.Softmax()(x))


def test_files_name_no_folder_of_this_machine(undisturbed):
    folder = undisturbed[0]
    for name in FILES:
        assert str(folder.parent).encode() not in (folder / name).read_bytes(), name


@pytest.mark.parametrize(("shape", "classes"), [((4, 4, 3), 10), ((80,), 2), ((32, 32, 3), 1)])
def test_a_dataset_the_sample_network_cannot_learn(shape, classes):
    with pytest.raises(ModelFileError, match=r"model\.path"):
        build_sample_cnn(shape, classes, 0)


@pytest.mark.slow
def test_the_sample_is_learned_to_85_percent(tmp_path):
    """The shipped settings on all training images, three seeds, held to the 2,000 test images."""
    sample, preprocess = open_dataset("fashion_mnist_sample", seed=0), Preprocess(scale=1 / 255)
    (x,), (x_test,) = (next(part.batches(preprocess, 6000)) for part in (sample.train, sample.test))
    found = []
    for seed in range(3):
        model = build_sample_cnn((32, 32, 3), 10, seed)
        data = Examples(6000, lambda numbers: ([x[numbers]], sample.train.labels[numbers]))
        train(
            model,
            data,
            epochs=6,
            batch_size=64,
            learning_rate=3e-3,
            seed=seed,
            scratch=tmp_path / str(seed),
            key="",
            say=print,
        )
        top = model.predict(x_test, verbose=0, batch_size=500).argmax(axis=1)
        found.append(float((top == sample.test.labels).mean()))
    assert sorted(found)[1] >= 0.85, found
    assert min(found) >= 0.84, found
