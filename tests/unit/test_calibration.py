import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dnndk_prep.data import calibration
from dnndk_prep.data.calibration_files import write_calibration, write_shipped_images
from dnndk_prep.data.datasets import open_dataset
from dnndk_prep.data.images import read_image
from dnndk_prep.data.parts import ArrayPart
from dnndk_prep.data.preprocess import Preprocess
from dnndk_prep.data.sources import Dataset
from dnndk_prep.errors import ModelFileError, UsageError

SHIPPED = Path(__file__).parents[2] / "calib_data"
RANDOM = np.random.default_rng(0)
TORCH = Preprocess.from_mode("torch", resize=(20, 24), crop=(16, 20))


def images(count, classes=4):
    inputs = {"": RANDOM.integers(0, 256, (count, 18, 18, 3), dtype=np.uint8)}
    return ArrayPart(inputs, np.arange(count) % classes)


def dataset(count=120):
    return Dataset("d", images(count), images(count), ())


def module(folder, name="input_fn"):
    spec = importlib.util.spec_from_file_location(name, folder / "input_fn.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def write(out, chosen, preprocess=TORCH, placeholders=None, batch_size=10):
    out.mkdir(exist_ok=True)
    return write_calibration(out, chosen, preprocess, placeholders or {"in/put": (None, 16, 20, 3)}, batch_size)


def evaluated(chosen, preprocess):
    """The arrays as evaluation gets them, all inputs of all chosen examples."""
    batches = list(chosen.part.batches(preprocess, 7, chosen.indices))
    return [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]


# --- the choice


def test_the_choice_is_seeded_and_balanced():
    labels = np.repeat(np.arange(10), 30)
    chosen = calibration.choose(labels, 300, 100, seed=3)
    assert np.bincount(labels[chosen]).tolist() == [10] * 10
    assert len(set(chosen.tolist())) == 100
    assert chosen.tolist() == calibration.choose(labels, 300, 100, seed=3).tolist()
    assert chosen.tolist() != calibration.choose(labels, 300, 100, seed=4).tolist()
    for start in range(0, 100, 10):
        assert set(labels[chosen[start : start + 10]]) == set(range(10)), "each batch holds every class"


def test_small_classes_give_all_they_have():
    labels = np.array([0] * 50 + [1] * 3)
    assert np.bincount(labels[calibration.choose(labels, 53, 20, seed=0)]).tolist() == [17, 3]


def test_more_classes_than_images_gives_classes_from_everywhere():
    chosen = calibration.choose(np.arange(1000), 1000, 100, seed=0)
    assert chosen.max() > 800


def test_only_the_training_part_is_used():
    data = dataset()
    assert calibration.from_dataset(data, 100, seed=0).part is data.train


def test_few_or_missing_examples_are_warnings():
    assert calibration.from_dataset(dataset(), 100, seed=0).warnings == ()
    (few,) = calibration.from_dataset(dataset(), 20, seed=0).warnings
    assert "20 calibration examples are few" in few
    assert "asks for 500 examples, there are 120" in calibration.from_dataset(dataset(), 500, seed=0).warnings[0]


# --- the user's own data


def image_folder(root, names):
    root.mkdir()
    for name in names:
        Image.fromarray(RANDOM.integers(0, 256, (18, 18, 3), dtype=np.uint8)).save(root / name)
    return root


def test_a_folder_without_a_list(tmp_path):
    chosen = calibration.from_path(image_folder(tmp_path / "c", ["b.png", "a.png"]), 100, seed=0)
    assert sorted(chosen.part.name_of(i) for i in chosen.indices) == ["a.png", "b.png"]
    assert chosen.label(0) is None


def test_a_folder_with_a_list(tmp_path):
    folder = image_folder(tmp_path / "c", ["a.png", "b c.png", "other.png"])
    (folder / "calib_list.txt").write_text("a.png 3\n\nb c.png 5\n")
    chosen = calibration.from_path(folder, 100, seed=0)
    assert {chosen.part.name_of(i): chosen.label(n) for n, i in enumerate(chosen.indices)} == {"a.png": 3, "b c.png": 5}
    (folder / "calib_list.txt").write_text("b c.png\n")
    assert len(calibration.from_path(folder, 100, seed=0)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png 1\nmissing.png 2\n", "line 2"),
        ("a.png cat\n", "class number"),
        ("../secret.png\n", "line 1"),
        ("a.png 1\nb.png\n", "either on every line or on none"),
        ("\n", "0 lines"),
    ],
)
def test_a_list_with_a_mistake_is_refused(tmp_path, text, message):
    folder = image_folder(tmp_path / "c", ["a.png", "b.png"])
    (tmp_path / "secret.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "calib_list.txt").write_text(text)
    with pytest.raises(ModelFileError, match=message):
        calibration.from_path(folder, 100, seed=0)


def test_data_that_are_not_there(tmp_path):
    with pytest.raises(ModelFileError, match="are not there"):
        calibration.from_path(tmp_path / "nowhere", 100, seed=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFileError, match="holds no calibration images"):
        calibration.from_path(tmp_path / "empty", 100, seed=0)


def test_what_the_stage_writes_can_be_given_back(tmp_path):
    chosen = calibration.from_dataset(dataset(), 100, seed=0)
    write(tmp_path / "first", chosen)
    again = calibration.from_path(tmp_path / "first", 100, seed=0)
    assert len(again) == 100
    assert sorted(again.label(i) for i in range(100)) == sorted(chosen.label(i) for i in range(100))


# --- what is written


@pytest.mark.parametrize("channels", ["rgb", "bgr", "gray"])
def test_the_module_feeds_what_evaluation_uses(tmp_path, channels):
    numbers = (0.4,) if channels == "gray" else (0.1, 0.2, 0.3)
    preprocess = Preprocess((20, 24), (16, 20), channels, 1 / 255, numbers, numbers)
    placeholders = {"in/put": (None, 16, 20, preprocess.channel_count)}
    chosen = calibration.from_dataset(dataset(), 104, seed=0)
    facts = write(tmp_path / "out", chosen, preprocess, placeholders)
    (wanted,) = evaluated(chosen, preprocess)
    loaded = module(tmp_path / "out")
    assert (facts.count, facts.iterations, facts.is_image) == (104, 10, True)
    for i in [0, *range(10), 0]:
        fed = loaded.calib_input(iter=i)
        assert list(fed) == ["in/put"]
        assert fed["in/put"].dtype == np.float32
        np.testing.assert_array_equal(fed["in/put"], wanted[10 * i : 10 * i + 10])
        fed["in/put"][:] = 0  # As the quantizer does: the next call must not see it.
        fed.clear()
    with np.load(tmp_path / "out" / "calib.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["in/put"], wanted)
    for channel, fact in enumerate(facts.channels):
        assert (fact.min, fact.max) == (wanted[..., channel].min(), wanted[..., channel].max())
        assert fact.mean == pytest.approx(wanted[..., channel].mean(), abs=1e-4)


def test_it_says_when_images_run_out(tmp_path):
    write(tmp_path / "out", calibration.from_dataset(dataset(), 104, seed=0))
    with pytest.raises(ValueError, match=r"iteration 10 .*104 examples.*10 iterations .*--calib_iter 10"):
        module(tmp_path / "out").calib_input(10)
    with pytest.raises(ValueError, match="run out"):
        module(tmp_path / "out").calib_input(-1)


def test_inputs_that_are_no_images_come_from_npz(tmp_path):
    tokens, vector = RANDOM.integers(0, 50, (120, 8)), RANDOM.random((120, 3))
    np.savez(tmp_path / "own.npz", tokens=tokens, vector=vector)
    chosen = calibration.from_path(tmp_path / "own.npz", 120, seed=0)
    facts = write(tmp_path / "out", chosen, Preprocess(), {"vector": (None, 3), "tokens": (None, 8)}, 16)
    fed = [module(tmp_path / "out").calib_input(i) for i in range(7)]
    wanted_tokens, wanted_vector = evaluated(chosen, Preprocess())
    assert (facts.iterations, facts.is_image) == (7, False)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.*")) == ["calib.npz", "input_fn.py"]
    np.testing.assert_array_equal(np.concatenate([f["tokens"] for f in fed]), wanted_tokens[:112])
    np.testing.assert_array_equal(np.concatenate([f["vector"] for f in fed]), wanted_vector[:112])
    assert fed[0]["tokens"].dtype == np.float32


def test_images_in_the_users_npz_are_preprocessed_too(tmp_path):
    np.savez(tmp_path / "own.npz", anything=RANDOM.integers(0, 256, (20, 18, 18, 3), dtype=np.uint8))
    chosen = calibration.from_path(tmp_path / "own.npz", 20, seed=0)
    assert write(tmp_path / "out", chosen).is_image
    np.testing.assert_array_equal(
        np.concatenate([module(tmp_path / "out").calib_input(i)["in/put"] for i in (0, 1)]), evaluated(chosen, TORCH)[0]
    )


def test_two_runs_write_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, calibration.from_dataset(open_dataset("fashion_mnist_sample", seed=0), 20, seed=0))
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(names) == 23
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_data_that_do_not_fit_the_model(tmp_path):
    chosen = calibration.from_dataset(dataset(), 100, seed=0)
    with pytest.raises(ModelFileError, match="input_1 wants 32x32x3, the data give 16x20x3"):
        write(tmp_path, chosen, placeholders={"input_1": (None, 32, 32, 3)})
    with pytest.raises(ModelFileError, match="do not match the model's inputs"):
        write(tmp_path, chosen, placeholders={"a": (None, 16, 20, 3), "b": (None, 2)})
    with pytest.raises(UsageError, match="batch_size is larger"):
        write(tmp_path, chosen, batch_size=101)
    with pytest.raises(UsageError, match="fixed batch size"):
        write(tmp_path, chosen, placeholders={"a": (4, 16, 20, 3)})
    assert list(tmp_path.iterdir()) == []


def test_values_that_look_wrong_are_warned_of(tmp_path):
    chosen = calibration.from_dataset(dataset(), 100, seed=0)
    placeholders = {"x": (None, 18, 18, 3)}
    (raw,) = write(tmp_path / "raw", chosen, Preprocess(), placeholders).warnings
    (twice,) = write(tmp_path / "twice", chosen, Preprocess(scale=1 / 255**2), placeholders).warnings
    assert "raw 0..255" in raw
    assert "normalised twice" in twice
    zeros = calibration.from_dataset(Dataset("d", ArrayPart({"": np.zeros((100, 3))}), images(1), ()), 100, seed=0)
    (equal,) = write(tmp_path / "zero", zeros, Preprocess(), {"x": (None, 3)}).warnings
    assert "all calibration values are equal" in equal


def test_names_cannot_become_code(tmp_path):
    name = 'x\'"\\\n__import__(\'os\').abort()\n"""ü'
    chosen = calibration.from_dataset(dataset(), 100, seed=0)
    write(tmp_path / "out", chosen, placeholders={name: (None, 16, 20, 3)})
    assert list(module(tmp_path / "out").calib_input(0)) == [name]
    (tmp_path / "out" / "input_fn.py").read_text(encoding="ascii")


# --- the module on its own, in the Python of the vendor's container


CHECK = """
import sys, numpy as np
sys.path.append("./")
import input_fn
wanted = np.load("calib.npz")
n = 0
for i in range(10):
    fed = input_fn.calib_input(i)
    for name in fed:
        assert fed[name].dtype == np.float32 and np.array_equal(fed[name], wanted[name][10 * i : 10 * i + 10]), name
        n += 1
print("equal", n)
"""


def run_alone(python, folder, module_name):
    """Run in the folder's copy elsewhere, without our package and with only `module_name` to read images with."""
    blocked = {"PIL": "cv2", "cv2": "PIL"}.get(module_name, "nothing")
    code = f"import sys; sys.modules[{blocked!r}] = None\n{CHECK}"
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [python, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


WAYS = {
    **{name: Preprocess((20, 24), (16, 20), name, 1 / 255, (0.4,), (0.3,)) for name in ("rgb", "bgr", "gray")},
    **{mode: Preprocess.from_mode(mode, (20, 24), (16, 20)) for mode in ("caffe", "tf", "torch")},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reader", ["PIL", "cv2", "numpy"])
def test_it_runs_in_old_pythons_bit_for_bit(tmp_path, old_python, reader, way):
    python = old_python("opencv" if reader == "cv2" else "pillow")
    if reader == "numpy":
        data = ArrayPart({"in/put": RANDOM.normal(size=(100, 7)), "b": RANDOM.random((100, 2))})
        chosen = calibration.from_dataset(Dataset("d", data, data, ()), 100, seed=0)
        write(tmp_path / "out", chosen, Preprocess(), {"in/put": (None, 7), "b": (None, 2)})
    else:
        preprocess = WAYS[way]
        shape = (None, 16, 20, preprocess.channel_count)
        write(tmp_path / "out", calibration.from_dataset(dataset(), 100, seed=0), preprocess, {"in/put": shape})
    moved = shutil.move(tmp_path / "out", tmp_path / "moved away")
    done = run_alone(python, moved, reader)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"equal {20 if reader == 'numpy' else 10}"


def test_the_self_check_prints_shapes_ranges_and_iterations(tmp_path):
    chosen = calibration.from_dataset(dataset(), 100, seed=0)
    facts = write(tmp_path / "out", chosen)
    command = [sys.executable, str(tmp_path / "out" / "input_fn.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "100 examples, batch size 10: 10 iterations"
    assert lines[1] == "in/put: float32 (10, 16, 20, 3)"
    fact = facts.channels[0]
    assert lines[2] == f"  channel 0: min {fact.min:.6g} mean {fact.mean:.6g} max {fact.max:.6g}"


# --- calib_data/


def test_the_shipped_images_are_what_the_function_makes(tmp_path):
    """Pixels, not bytes: Pillow's compression may change from release to release."""
    write_shipped_images(tmp_path)
    assert (tmp_path / "calib_list.txt").read_text() == (SHIPPED / "calib_list.txt").read_text()
    made, shipped = (sorted(path.name for path in folder.glob("*.png")) for folder in (tmp_path, SHIPPED))
    assert made == shipped
    assert len(made) == 100
    for name in made:
        np.testing.assert_array_equal(read_image(tmp_path / name), read_image(SHIPPED / name))


def test_the_shipped_images_are_balanced_and_for_training():
    chosen = calibration.from_path(SHIPPED, 100, seed=0)
    assert chosen.warnings == ()
    assert np.bincount([chosen.label(i) for i in range(100)]).tolist() == [10] * 10
    sample = open_dataset("fashion_mnist_sample", seed=0)
    train = {sample.train.load(i).tobytes() for i in range(len(sample.train))}
    assert all(chosen.part.load(i).tobytes() in train for i in range(100))
