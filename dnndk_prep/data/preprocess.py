"""The one preprocessing: what turns an image into the numbers a model eats, wherever that is done.

It has two halves on purpose. `geometry` works on uint8 pixels and ends in uint8, so its result can be kept as a
lossless PNG; `values` is float32 arithmetic of three elementwise operations. Whoever decodes that PNG and repeats the
arithmetic, with any Pillow, OpenCV and numpy, gets the same numbers bit for bit. The calibration module relies on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dnndk_prep.errors import ModelFileError, UsageError, nearest

if TYPE_CHECKING:
    # Imported where pixels are: a command that only checks the numbers of the YAML must not wait for them.
    import numpy as np

Channels = Literal["rgb", "bgr", "gray"]
Mode = Literal["caffe", "tf", "torch"]

# keras.applications.imagenet_utils.preprocess_input: channel order, scale, mean, standard deviation. A mean is in the
# order of the channels after reordering, and is subtracted after scaling.
_MODES: dict[str, tuple[Channels, float, tuple[float, ...], tuple[float, ...]]] = {
    "caffe": ("bgr", 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "tf": ("rgb", 1 / 127.5, (1.0,), (1.0,)),
    "torch": ("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class Preprocess:
    """Resize and crop (height, width), channel order, then `(x * scale - mean) / std` in float32.

    `mean` and `std` hold one number for all channels, or one a channel in the order that `channels` names.
    Raises UsageError for numbers that cannot work.
    """

    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    channels: Channels = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.channels not in ("rgb", "bgr", "gray"):
            raise _unusable("channels", "rgb, bgr or gray", self.channels)
        for name in ("resize", "crop"):
            size = getattr(self, name)
            if size is not None and (len(size) != 2 or min(size) < 1):
                raise _unusable(name, "height and width of at least 1", size)
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            if len(numbers) not in (1, self.channel_count) or not all(map(math.isfinite, numbers)):
                raise _unusable(name, f"1 or {self.channel_count} finite numbers ({self.channels})", numbers)
        if 0 in self.std:
            raise _unusable("std", "numbers other than 0, as values are divided by them", self.std)
        if not math.isfinite(self.scale) or self.scale == 0:
            raise _unusable("scale", "a finite number other than 0", self.scale)
        if self.resize and self.crop and (self.crop[0] > self.resize[0] or self.crop[1] > self.resize[1]):
            raise _unusable("crop", f"at most preprocess.resize {list(self.resize)}", list(self.crop))

    @classmethod
    def from_mode(
        cls, mode: Mode, resize: tuple[int, int] | None = None, crop: tuple[int, int] | None = None
    ) -> Preprocess:
        """The preprocessing that keras.applications calls "caffe", "tf" or "torch"; UsageError for another name."""
        if mode not in _MODES:
            hint = nearest(mode, _MODES)
            raise UsageError(
                f"preprocess.mode {mode!r} is not known",
                expected=", ".join(_MODES),
                found=mode,
                remedy=f"write {hint[0]}" if hint else "write one of these, or scale, mean and std",
            )
        channels, scale, mean, std = _MODES[mode]
        return cls(resize, crop, channels, scale, mean, std)

    @property
    def channel_count(self) -> int:
        return 1 if self.channels == "gray" else 3

    @property
    def is_identity(self) -> bool:
        """Whether the values stay the raw 0..255."""
        return self.scale == 1 and set(self.mean) == {0.0} and set(self.std) == {1.0}

    def geometry(self, raw: np.ndarray) -> np.ndarray:
        """uint8 HxWxC (C is 1 or 3, RGB) to uint8 of the model's height, width and channel count.

        The channels stay in RGB order: that is the order of the PNG. Raises ModelFileError if the crop does not fit.
        """
        image = self._to_channels(raw)
        if self.resize is not None and image.shape[:2] != self.resize:
            image = _resize(image, self.resize, "BILINEAR")
        return self._centre(image)

    def mask_geometry(self, mask: np.ndarray) -> np.ndarray:
        """A uint8 HxW class map, resized to the nearest class and cropped as the image is."""
        if self.resize is not None and mask.shape != self.resize:
            mask = _resize(mask, self.resize, "NEAREST")
        return self._centre(mask)

    def values(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [N]xHxWxC as `geometry` gives it to the float32 that the model is fed."""
        import numpy as np

        x = pixels[..., ::-1] if self.channels == "bgr" else pixels
        x = x.astype(np.float32) * np.float32(self.scale)
        return (x - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """Raw uint8 HxWxC to the float32 HxWxC that the model is fed."""
        return self.values(self.geometry(raw))

    def output_shape(self, raw_shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Height, width and channels that an image of `raw_shape` (H, W, C) ends with."""
        height, width = self.crop or self.resize or raw_shape[:2]
        return (height, width, self.channel_count)

    def _to_channels(self, raw: np.ndarray) -> np.ndarray:
        import numpy as np
        from PIL import Image

        if raw.dtype != np.uint8 or raw.ndim != 3 or raw.shape[2] not in (1, 3):
            raise ModelFileError(
                "this is not an image",
                expected="uint8 height x width x channels with 1 or 3 channels",
                found=f"{raw.dtype} {'x'.join(map(str, raw.shape))}",
            )
        if raw.shape[2] == self.channel_count:
            return raw
        if self.channel_count == 3:
            return np.repeat(raw, 3, axis=2)
        return np.asarray(Image.fromarray(raw).convert("L"))[..., None]

    def _centre(self, image: np.ndarray) -> np.ndarray:
        if self.crop is None:
            return image
        (height, width), (rows, columns) = image.shape[:2], self.crop
        if rows > height or columns > width:
            raise ModelFileError(
                "an image is smaller than the crop",
                expected=f"at least preprocess.crop {rows}x{columns}",
                found=f"{height}x{width}",
                remedy="set preprocess.resize, which comes before the crop",
            )
        top, left = (height - rows) // 2, (width - columns) // 2
        return image[top : top + rows, left : left + columns]


def _resize(image: np.ndarray, size: tuple[int, int], how: Literal["BILINEAR", "NEAREST"]) -> np.ndarray:
    import numpy as np
    from PIL import Image

    height, width = size
    flat = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    resized = np.asarray(Image.fromarray(np.ascontiguousarray(flat)).resize((width, height), Image.Resampling[how]))
    return resized.reshape(height, width, *image.shape[2:])


def _unusable(key: str, expected: str, found: object) -> UsageError:
    return UsageError(f"preprocess.{key} cannot be used", expected=expected, found=str(found))
