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
from dnndk_prep.keras_io import save, saved_forms
from dnndk_prep.keras_io.resume import Progress, Resume
from dnndk_prep.keras_io.sample_net import build_sample_cnn
from dnndk_prep.keras_io.train import Examples, train

EPOCHS, BATCH, STEPS = 3, 100, 5
FILES = (
    saved_forms.COMPLETE,
    saved_forms.ARCHITECTURE,
    saved_forms.WEIGHTS,
    saved_forms.CHECKPOINT,
    saved_forms.ARCHIVE,
    saved_forms.HISTORY,
)


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
    folder, said = tmp_path_factory.mktemp("undisturbed"), []
    model, history = run(folder / "scratch", say=said.append)
    return folder / "saved", model, history, saved(folder / "saved", model, history), said


def stop_in_epoch(scratch, epoch, end):
    """Call `end` at the fourth batch that is loaded after `epoch` epochs are done (Keras loads some twice)."""
    seen = []

    def stop(call):
        facts = scratch / "resume.json"
        if facts.exists() and json.loads(facts.read_text())["epoch"] == epoch:
            seen.append(call)
            if len(seen) == 4:
                end()

    return stop


def ctrl_c():
    raise Stopped


@pytest.mark.parametrize("done", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_interrupted_training_ends_bit_for_bit_as_an_undisturbed_one(tmp_path, undisturbed, done):
    scratch = tmp_path / "scratch"
    with pytest.raises(Stopped):
        run(scratch, examples(stop_in_epoch(scratch, done, ctrl_c)))
    said = []
    model, history = run(scratch, say=said.append)
    assert said == [f"training goes on after epoch {done} from its checkpoint", *undisturbed[4][done:]]
    assert history == undisturbed[2]
    assert saved(tmp_path / "saved", model, history) == undisturbed[3]


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    def stop(call):
        if call == 5:
            raise ModelFileError("the image 5.png cannot be read")

    with pytest.raises(ModelFileError, match=r"5\.png"):
        run(tmp_path, examples(stop))


@pytest.mark.slow
def test_a_killed_process_is_resumed_by_another(tmp_path, undisturbed):
    code = """
import os, sys
from pathlib import Path
import test_training as t
scratch = Path(sys.argv[1])
t.run(scratch, t.examples(t.stop_in_epoch(scratch, 1, lambda: os._exit(9))))
"""
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    command = [sys.executable, "-c", code, str(tmp_path / "scratch")]
    killed = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert killed.returncode == 9, killed.stderr
    assert "HDF5" not in killed.stderr
    model, history = run(tmp_path / "scratch")
    assert saved(tmp_path / "saved", model, history) == undisturbed[3]


def test_each_epoch_is_a_line_where_there_is_no_terminal(undisturbed):
    said = undisturbed[4]
    assert [line.split(":")[0] for line in said] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all("loss" in line and "accuracy" in line for line in said)


def test_only_its_own_whole_checkpoint_is_used(tmp_path, undisturbed):
    model, said = undisturbed[1], []

    def restored(key):
        said.clear()
        return Resume(tmp_path, key).restore(model, said.append)

    assert restored("key") == Progress()
    assert said == []
    resume = Resume(tmp_path, "key")
    model.save(resume.unfinished)
    progress = resume.commit(Progress().with_epoch({"loss": 0.5}))
    assert restored("key") == progress == Progress(1, {"loss": [0.5]})

    assert restored("other") == Progress()
    assert "not used: it was trained with other data" in said[0]
    facts = tmp_path / "resume.json"
    facts.write_text(facts.read_text().replace('"epoch": 1', '"epoch": 9'))
    assert restored("key") == Progress()
    assert "resume.json was changed after it was written" in said[0]
    facts.write_text(facts.read_text().replace('"epoch": 9', '"epoch": 1'))
    checkpoint = tmp_path / "keras_chkpt_0001.h5"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    assert restored("key") == Progress()
    assert "keras_chkpt_0001.h5 was changed after it was written" in said[0]
    checkpoint.unlink()
    assert restored("key") == Progress()
    assert "cannot be read" in said[0]
    (tmp_path / "resume.json").write_text("{")
    assert restored("key") == Progress()
    assert "cannot be read" in said[0]


def test_killed_between_checkpoint_and_facts_the_epoch_before_is_used(tmp_path, undisturbed):
    model = undisturbed[1]
    resume = Resume(tmp_path, "key")
    model.save(resume.unfinished)
    first = resume.commit(Progress().with_epoch({"loss": 0.5}))
    (tmp_path / "keras_chkpt_0002.h5").write_bytes(b"renamed, not yet named by resume.json")
    assert Resume(tmp_path, "key").restore(model, print) == first


def test_training_leaves_tensorflow_as_it_was(undisturbed):
    assert not tf_config.is_op_determinism_enabled()


def test_the_saved_forms_hold_the_same_model(undisturbed):
    folder, model, history = undisturbed[:3]
    x = next(open_dataset("fashion_mnist_sample", seed=0).test.batches(Preprocess(scale=1 / 255), 20))[0]
    wanted = model.predict(x, verbose=0)
    rebuilt = keras.models.model_from_json((folder / saved_forms.ARCHITECTURE).read_text())
    rebuilt.load_weights(folder / saved_forms.WEIGHTS)
    complete, checkpoint, archive = (
        keras.models.load_model(folder / name)
        for name in (saved_forms.COMPLETE, saved_forms.CHECKPOINT, saved_forms.ARCHIVE)
    )
    for loaded in (rebuilt, complete, checkpoint, archive):
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), wanted)
    for mine, theirs in zip(model.optimizer.variables, archive.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    for name in (saved_forms.COMPLETE, saved_forms.CHECKPOINT):
        with h5py.File(folder / name) as file:
            assert len(file["optimizer_weights"].attrs["weight_names"]) == len(model.optimizer.variables)
            for mine in model.optimizer.variables:
                np.testing.assert_array_equal(mine.numpy(), file["optimizer_weights"][mine.path][()])
    assert int(model.optimizer.iterations) == EPOCHS * STEPS
    assert json.loads((folder / saved_forms.HISTORY).read_text()) == history
    assert len(history["loss"]) == EPOCHS


def test_the_weights_file_has_the_layout_that_keras_2_reads(undisturbed):
    folder, model = undisturbed[:2]
    with h5py.File(folder / saved_forms.WEIGHTS) as file:
        assert {"layer_names", "backend", "keras_version"} <= set(file.attrs)
        assert "optimizer_weights" not in file
        for name in file.attrs["layer_names"]:
            assert "weight_names" in file[name].attrs
    twin = keras_2_twin()
    twin.load_weights(folder / saved_forms.WEIGHTS)
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
