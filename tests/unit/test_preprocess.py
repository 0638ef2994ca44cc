import numpy as np
import pytest
from PIL import Image

from dnndk_prep.data.preprocess import Preprocess
from dnndk_prep.errors import ModelFileError, UsageError

RANDOM = np.random.default_rng(0)
RAW = RANDOM.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_modes_are_those_of_keras_applications():
    x = RAW.astype(np.float64)
    wanted = {
        "caffe": x[..., ::-1] - [103.939, 116.779, 123.68],
        "tf": x / 127.5 - 1,
        "torch": (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
    }
    for mode, values in wanted.items():
        np.testing.assert_allclose(Preprocess.from_mode(mode)(RAW), values, atol=1e-4 if mode == "caffe" else 1e-6)


def test_values_are_float32_of_three_operations_in_order():
    got = Preprocess(scale=1 / 255, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))(RAW)
    by_hand = RAW.astype(np.float32) * np.float32(1 / 255)
    by_hand = (by_hand - np.float32([0.1, 0.2, 0.3])) / np.float32([0.5, 0.6, 0.7])
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, by_hand)


def test_a_batch_has_the_values_of_its_images():
    preprocess = Preprocess.from_mode("torch")
    batch = RANDOM.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(preprocess.values(batch), np.stack([preprocess(image) for image in batch]))


def test_resize_comes_before_the_crop_from_the_centre():
    got = Preprocess(resize=(16, 12), crop=(8, 6)).geometry(RAW)
    whole = np.asarray(Image.fromarray(RAW).resize((12, 16), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(got, whole[4:12, 3:9])


@pytest.mark.parametrize(("channels", "count"), [("rgb", 3), ("bgr", 3), ("gray", 1)])
@pytest.mark.parametrize("raw_channels", [1, 3])
def test_every_kind_of_image_gets_the_channels_of_the_model(channels, count, raw_channels):
    preprocess = Preprocess(resize=(10, 14), channels=channels)
    got = preprocess(RAW[..., :raw_channels])
    assert got.shape == preprocess.output_shape(RAW.shape) == (10, 14, count)


def test_bgr_is_reordered_after_geometry():
    np.testing.assert_array_equal(Preprocess(channels="bgr").geometry(RAW), RAW)
    np.testing.assert_array_equal(Preprocess(channels="bgr")(RAW), RAW[..., ::-1].astype(np.float32))


def test_masks_follow_the_image_and_keep_their_classes():
    mask = np.zeros((20, 30), np.uint8)
    mask[:, 15:] = 7
    got = Preprocess(resize=(10, 14), crop=(10, 10)).mask_geometry(mask)
    assert got.shape == (10, 10)
    assert set(np.unique(got)) == {0, 7}
    np.testing.assert_array_equal(got[0], [0] * 5 + [7] * 5)


@pytest.mark.parametrize(
    "settings",
    [
        {"std": (0.0,)},
        {"mean": (1.0, 2.0)},
        {"mean": (float("nan"),)},
        {"channels": "gray", "mean": (1.0, 2.0, 3.0)},
        {"channels": "hsv"},
        {"scale": 0.0},
        {"crop": (9, 9), "resize": (8, 8)},
        {"resize": (0, 8)},
    ],
)
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(UsageError, match="preprocess"):
        Preprocess(**settings)


def test_an_unknown_mode_names_the_nearest():
    with pytest.raises(UsageError, match="write torch"):
        Preprocess.from_mode("torhc")


def test_a_crop_larger_than_the_image_says_both_sizes():
    with pytest.raises(ModelFileError, match=r"(?s)at least preprocess.crop 64x64.*20x30"):
        Preprocess(crop=(64, 64))(RAW)


def test_what_is_no_image_is_refused():
    with pytest.raises(ModelFileError, match="float32 20x30x3"):
        Preprocess()(RAW.astype(np.float32))
