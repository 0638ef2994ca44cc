import io
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from dnndk_prep.data.datasets import misfit, open_dataset, with_inputs
from dnndk_prep.data.images import read_image, read_mask
from dnndk_prep.data.preprocess import Preprocess
from dnndk_prep.data.safe_pickle import load_npz
from dnndk_prep.data.sources import npz as npz_source
from dnndk_prep.data.sources.imdb import pad
from dnndk_prep.data.sources.npz import read_arrays
from dnndk_prep.errors import ModelFileError, UnsafeFileError, UsageError

RANDOM = np.random.default_rng(0)


def pixels(*shape):
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def class_folders(root, counts, size=(6, 8)):
    for name, count in counts.items():
        for i in range(count):
            save(root / name / f"{i}.png", pixels(*size, 3))
    return root


class Evil:
    def __reduce__(self):
        return (print, ("the pickle ran",))


# --- the shipped sample


def test_the_sample_is_padded_repeated_and_balanced():
    dataset = open_dataset("fashion_mnist_sample", seed=0)
    assert (len(dataset.train), len(dataset.test), len(dataset.class_names)) == (6000, 2000, 10)
    assert np.bincount(dataset.train.labels).tolist() == [600] * 10
    image = dataset.train.load(0)
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8
    assert not image[:2].any()
    assert not image[:, -2:].any()
    assert image.any()
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_batches_follow_the_indices_and_end_short():
    train = open_dataset("fashion_mnist_sample", seed=0).train
    preprocess = Preprocess(scale=1 / 255)
    batches = list(train.batches(preprocess, 4, [5, 1, 9, 3, 7]))
    labels = list(train.label_batches(preprocess, 4, [5, 1, 9, 3, 7]))
    assert [batch[0].shape[0] for batch in batches] == [4, 1]
    np.testing.assert_array_equal(batches[0][0][1], preprocess(train.load(1)))
    np.testing.assert_array_equal(np.concatenate(labels), train.labels[[5, 1, 9, 3, 7]])


def test_names_and_paths_are_checked():
    with pytest.raises(UsageError, match="write cifar10"):
        open_dataset("cifar-10", seed=0)
    with pytest.raises(UsageError, match=r"needs dataset\.path"):
        open_dataset("npz", seed=0)


# --- folders of images


def test_class_folders_are_split_by_the_seed(tmp_path):
    class_folders(tmp_path, {"cat": 10, "dog": 5})
    dataset = open_dataset("folder", tmp_path, seed=1)
    again = open_dataset("folder", tmp_path, seed=1)
    other = open_dataset("folder", tmp_path, seed=2)
    names = [dataset.test.name_of(i) for i in range(len(dataset.test))]
    assert dataset.class_names == ("cat", "dog")
    assert np.bincount(dataset.train.labels).tolist() == [8, 4]
    assert np.bincount(dataset.test.labels).tolist() == [2, 1]
    assert names == [again.test.name_of(i) for i in range(3)]
    assert names != [other.test.name_of(i) for i in range(3)]
    assert not set(names) & {dataset.train.name_of(i) for i in range(len(dataset.train))}


def test_train_and_test_folders_are_taken_as_they_are(tmp_path):
    class_folders(tmp_path / "train", {"a": 3, "b": 2})
    class_folders(tmp_path / "test", {"a": 1, "b": 1})
    dataset = open_dataset("folder", tmp_path, seed=0)
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert dataset.test.name_of(1) == "test/b/0.png"


def test_images_are_read_only_when_asked_for(tmp_path):
    class_folders(tmp_path, {"a": 4, "b": 4})
    broken = tmp_path / "a" / "9.png"
    broken.write_bytes(b"not a png")
    dataset = open_dataset("folder", tmp_path, seed=0)
    part, i = next(
        (part, i) for part in (dataset.train, dataset.test) for i in range(len(part)) if part.name_of(i) == "a/9.png"
    )
    with pytest.raises(ModelFileError, match=r"9\.png cannot be read"):
        part.load(i)


def test_folders_that_cannot_be_used_say_why(tmp_path):
    with pytest.raises(ModelFileError, match="is not there"):
        open_dataset("folder", tmp_path / "nowhere", seed=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFileError, match="has no class folders"):
        open_dataset("folder", tmp_path / "empty", seed=0)
    class_folders(tmp_path / "gap", {"a": 2})
    (tmp_path / "gap" / "b").mkdir()
    with pytest.raises(ModelFileError, match=r"gap/b holds no images"):
        open_dataset("folder", tmp_path / "gap", seed=0)
    class_folders(tmp_path / "half" / "train", {"a": 2})
    with pytest.raises(ModelFileError, match="train/ alone"):
        open_dataset("folder", tmp_path / "half", seed=0)
    class_folders(tmp_path / "odd" / "train", {"a": 2, "b": 2})
    class_folders(tmp_path / "odd" / "test", {"a": 2})
    with pytest.raises(ModelFileError, match="only in one of them: b"):
        open_dataset("folder", tmp_path / "odd", seed=0)


def test_images_of_different_sizes_need_a_resize(tmp_path):
    class_folders(tmp_path / "train", {"a": 1}, size=(6, 8))
    class_folders(tmp_path / "train", {"b": 1}, size=(9, 8))
    class_folders(tmp_path / "test", {"a": 1, "b": 1})
    train = open_dataset("folder", tmp_path, seed=0).train
    with pytest.raises(ModelFileError, match=r"(?s)9x8 in train/b/0.png.*preprocess.resize"):
        list(train.batches(Preprocess(), 2))
    assert next(train.batches(Preprocess(resize=(4, 4)), 2))[0].shape == (2, 4, 4, 3)


def test_masks_are_class_maps_that_follow_the_image(tmp_path):
    images, masks = tmp_path / "images", tmp_path / "masks"
    for i in range(5):
        save(images / "city" / f"{i}.jpg", pixels(10, 12, 3))
        save(masks / "city" / f"{i}.png", np.full((10, 12), i, np.uint8))
    dataset = open_dataset("folder", images, masks, seed=0)
    preprocess = Preprocess(resize=(8, 8), crop=(4, 6))
    (labels,) = dataset.train.label_batches(preprocess, 10)
    assert dataset.train.labels is None
    assert labels.dtype == np.uint8
    assert labels.shape == (4, 4, 6)
    for label, i in zip(labels, range(4), strict=True):
        assert f"city/{label[0, 0]}.jpg" == dataset.train.name_of(i)


def test_masks_that_miss_or_do_not_fit_are_named(tmp_path):
    for i in range(2):
        save(tmp_path / "images" / f"{i}.png", pixels(10, 12, 3))
        save(tmp_path / "masks" / f"{i}.png", np.zeros((10, 11), np.uint8))
    train = open_dataset("folder", tmp_path / "images", tmp_path / "masks", seed=0).train
    with pytest.raises(ModelFileError, match=r"(?s)10x12.*10x11"):
        train.load_mask(0)
    (tmp_path / "masks" / "1.png").rename(tmp_path / "masks" / "1x.png")
    with pytest.raises(ModelFileError, match=r"(?s)images/1.png has no mask.*1x.png"):
        open_dataset("folder", tmp_path / "images", tmp_path / "masks", seed=0)


# --- image files


def test_every_kind_of_file_becomes_rgb(tmp_path):
    rgb = pixels(5, 7, 3)
    rgba = np.dstack([rgb, pixels(5, 7)])
    wide = RANDOM.integers(0, 65536, (5, 7), dtype=np.uint16)
    np.testing.assert_array_equal(read_image(save(tmp_path / "rgba.png", rgba)), rgb)
    palette = Image.fromarray(rgb).quantize(256)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(read_image(save(tmp_path / "gray.png", rgb[..., 0])), rgb[..., :1].repeat(3, 2))
    got = read_image(save(tmp_path / "wide.png", wide))
    np.testing.assert_array_equal(got[..., 1], np.rint(wide / 257).astype(np.uint8))


def test_the_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn by 90 degrees clockwise.
    rgb = pixels(5, 7, 3)
    path = tmp_path / "turned.png"
    Image.fromarray(rgb).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(rgb, -1))


def test_broken_files_are_named(tmp_path, monkeypatch):
    whole = save(tmp_path / "whole.jpg", pixels(64, 64, 3))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:-800])
    gif = save(tmp_path / "gif.png", pixels(8, 8), format="GIF")
    for path in (cut, gif, tmp_path / "missing.png"):
        with pytest.raises(ModelFileError, match=path.name):
            read_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with pytest.raises(ModelFileError, match=r"whole\.jpg is too large"):
        read_image(whole)


def test_a_mask_keeps_the_indices_of_its_palette(tmp_path):
    classes = RANDOM.integers(0, 3, (5, 7), dtype=np.uint8)
    image = Image.fromarray(classes).convert("P")
    image.putpalette([10, 20, 30] * 256)
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), classes)
    with pytest.raises(ModelFileError, match="mode RGB"):
        read_mask(save(tmp_path / "colour.png", pixels(5, 7, 3)))


# --- npz


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_npz_images_and_labels(tmp_path):
    x, y = pixels(6, 5, 5, 1), np.array([0, 1, 2, 0, 1, 2])
    path = npz(tmp_path / "d.npz", x_train=x, y_train=y[:, None], x_test=x[:3], y_test=y[:3])
    dataset = open_dataset("npz", path, seed=0)
    assert dataset.train.is_image
    assert dataset.train.labels.tolist() == y.tolist()
    assert dataset.class_names == ("0", "1", "2")
    assert next(dataset.test.batches(Preprocess(), 3))[0].shape == (3, 5, 5, 3)


def test_npz_with_several_inputs_in_the_order_of_the_model(tmp_path):
    vector, image = RANDOM.random((4, 3)), pixels(4, 5, 5, 3)
    arrays = {f"x_{part}_{name}": a for part in ("train", "test") for name, a in (("v", vector), ("i", image))}
    part = open_dataset("npz", npz(tmp_path / "d.npz", **arrays), seed=0).train
    preprocess = Preprocess(scale=1 / 255)
    assert not part.is_image
    (batch,) = with_inputs(part, ["i", "v"]).batches(preprocess, 4)
    np.testing.assert_array_equal(batch[0], preprocess.values(image))
    np.testing.assert_array_equal(batch[1], vector.astype(np.float32))
    assert misfit(part, preprocess, {"i": (None, 5, 5, 3), "v": (None, 3)}) is None
    assert "wants 4, the data give 3" in misfit(part, preprocess, {"i": (None, 5, 5, 3), "v": (None, 4)})
    with pytest.raises(ModelFileError, match="do not match the model's inputs"):
        with_inputs(part, ["i", "w"])


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"x_train": pixels(2, 4, 4, 3)}, "no clear inputs for the test part"),
        ({"x_train": pixels(2, 3), "x_test": pixels(2, 3), "y_trian": np.zeros(2)}, "rename y_trian to y_train"),
        ({"x_train": pixels(2, 4, 4, 4), "x_test": pixels(2, 4, 4, 4)}, "1 or 3 channels"),
        ({"x_train": np.array([1, np.nan]), "x_test": np.ones(2)}, "NaN"),
        ({"x_train": pixels(2, 3), "x_test": pixels(0, 3)}, "x_test"),
        ({"x_train": pixels(2, 3), "x_test": pixels(2, 3), "y_train": np.zeros(3, int)}, "2 class numbers"),
        ({"x_train": np.array(["a", "b"]), "x_test": np.ones(2)}, "numbers"),
    ],
)
def test_npz_that_cannot_be_used_says_why(tmp_path, arrays, text):
    with pytest.raises(ModelFileError, match=text):
        open_dataset("npz", npz(tmp_path / "d.npz", **arrays), seed=0)


def test_npz_with_python_objects_is_refused(tmp_path, capsys):
    path = npz(tmp_path / "d.npz", x_train=np.array([Evil(), 1], object), x_test=np.ones(2))
    with pytest.raises(UnsafeFileError):
        open_dataset("npz", path, seed=0)
    assert capsys.readouterr().out == ""


def test_npz_that_is_none(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "cut.npz").write_bytes(npz(tmp_path / "d.npz", x_train=pixels(9, 9)).read_bytes()[:-30])
    for name in ("text.npz", "cut.npz", "missing.npz"):
        with pytest.raises((ModelFileError, UnsafeFileError), match=name):
            open_dataset("npz", tmp_path / name, seed=0)


# --- pickles


def cifar_folder(root, evil=None):
    root.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        content = {b"data": pixels(3, 3072), b"labels": [1, 0, 9]}
        (root / name).write_bytes(pickle.dumps(evil if name == "data_batch_3" and evil else content, protocol=2))
    names = [b"airplane", b"automobile", b"bird"]
    (root / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    return root


def test_cifar10_batches_become_images(tmp_path):
    folder = cifar_folder(tmp_path / "cifar-10-batches-py")
    dataset = open_dataset("cifar10", folder, seed=0)
    raw = pickle.loads((folder / "data_batch_1").read_bytes())[b"data"][0]
    assert (len(dataset.train), len(dataset.test)) == (15, 3)
    assert dataset.class_names == ("airplane", "automobile", "bird")
    assert dataset.train.labels[:3].tolist() == [1, 0, 9]
    np.testing.assert_array_equal(dataset.train.load(0), raw.reshape(3, 32, 32).transpose(1, 2, 0))


def test_cifar10_as_python_2_wrote_it(tmp_path):
    """The published files are pickles of Python 2: text where Python 3 has bytes, numpy under its old name."""
    folder = cifar_folder(tmp_path / "cifar-10-batches-py")
    data = bytes(range(256)) * 12
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01(K\x01M\x00\x0ct" + dtype + b"I00\n"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR" + state
    array += b"T" + len(data).to_bytes(4, "little") + data + b"tb"
    (folder / "test_batch").write_bytes(b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x06eu.")
    test = open_dataset("cifar10", folder, seed=0).test
    assert test.labels.tolist() == [6]
    np.testing.assert_array_equal(test.load(0)[..., 0].ravel(), np.frombuffer(data[:1024], np.uint8))


@pytest.mark.parametrize(
    "evil", [Evil(), {b"data": [Evil()]}, {b"data": np.array([Evil()], object)}, np.memmap, io.BytesIO]
)
def test_cifar10_with_more_than_data_is_refused(tmp_path, evil, capsys):
    with pytest.raises(UnsafeFileError, match="data_batch_3"):
        open_dataset("cifar10", cifar_folder(tmp_path / "c", evil), seed=0)
    assert capsys.readouterr().out == ""


def test_cifar10_files_that_are_broken_or_missing(tmp_path):
    folder = cifar_folder(tmp_path / "c")
    whole = (folder / "data_batch_2").read_bytes()
    for content in (whole[:-50], b"", b"garbage", pickle.dumps([1]), pickle.dumps({b"data": 1, b"labels": [2]})):
        (folder / "data_batch_2").write_bytes(content)
        with pytest.raises(ModelFileError, match="data_batch_2"):
            open_dataset("cifar10", folder, seed=0)
    (folder / "data_batch_2").unlink()
    with pytest.raises(ModelFileError, match="data_batch_2"):
        open_dataset("cifar10", folder, seed=0)


def imdb_file(path, **changes):
    reviews = np.empty(6, object)
    reviews[:] = [RANDOM.integers(1, 30_000, n).tolist() for n in (3, 200, 79, 80, 5, 1)]
    arrays = {"x_train": reviews, "y_train": np.arange(6) % 2, "x_test": reviews[:4], "y_test": np.ones(4, np.int64)}
    np.savez(path, **{**arrays, **changes})
    return path


def test_imdb_reviews_are_numbered_and_padded(tmp_path):
    train = open_dataset("imdb", imdb_file(tmp_path / "imdb.npz"), seed=0).train
    (batch,) = next(train.batches(Preprocess(), 6))
    assert not train.is_image
    assert batch.shape == (6, 80)
    assert batch.dtype == np.float32
    assert batch.max() < 20_000
    short = batch[(batch == 0).sum(axis=1).argmax()]
    assert short[-2] == 1  # The start sign, then the one word of the shortest review.


def test_padding_keeps_the_end():
    padded = pad([[1, 2], list(range(100)), []])
    assert padded[0].tolist() == [0] * 78 + [1, 2]
    assert padded[1].tolist() == list(range(20, 100))
    assert not padded[2].any()


def test_imdb_with_more_than_lists_is_refused(tmp_path, capsys):
    evil = np.empty(6, object)
    evil[0] = Evil()
    with pytest.raises(UnsafeFileError, match="print"):
        open_dataset("imdb", imdb_file(tmp_path / "imdb.npz", x_train=evil), seed=0)
    assert capsys.readouterr().out == ""
    with pytest.raises(ModelFileError, match="one list of word numbers"):
        open_dataset("imdb", imdb_file(tmp_path / "imdb.npz", x_train=np.ones((6, 2))), seed=0)


def test_object_arrays_keep_their_shape(tmp_path):
    nested = np.empty((2, 2), object)
    nested[:] = [[[1], [2, 3]], [[], [4]]]
    np.savez(tmp_path / "o.npz", a=nested, b=np.arange(3, dtype=">i4"))
    arrays = load_npz(tmp_path / "o.npz")
    assert arrays["a"].tolist() == nested.tolist()
    assert arrays["b"].tolist() == [0, 1, 2]
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00")
    with pytest.raises(ModelFileError):
        load_npz(tmp_path / "odd.npz")


def test_an_npz_that_unpacks_to_much_more_is_refused(tmp_path, monkeypatch):
    """The zip's own figures tell; nothing is unpacked. What packs well is let in as long as it is small."""
    np.savez_compressed(tmp_path / "zeros.npz", x_train=np.zeros((1, 2**22), np.uint8))
    assert read_arrays(tmp_path / "zeros.npz")["x_train"].shape == (1, 2**22)
    monkeypatch.setattr(npz_source, "LARGE", 2**20)
    with pytest.raises(UnsafeFileError, match="may fill the memory"):
        read_arrays(tmp_path / "zeros.npz")
    np.savez(tmp_path / "unpacked.npz", x_train=np.zeros((1, 2**22), np.uint8))
    assert read_arrays(tmp_path / "unpacked.npz")["x_train"].shape == (1, 2**22)
