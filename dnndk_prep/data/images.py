"""Reads image files safely: only PNG and JPEG decoders, Pillow's size limit as an error, one form of pixels out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dnndk_prep.errors import ModelFileError

SUFFIXES = (".png", ".jpg", ".jpeg")


def list_images(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The image files of `folder`, sorted by name; hidden files are left out."""
    return sorted(_walk(folder, recursive), key=lambda path: path.as_posix())


def read_image(path: Path) -> np.ndarray:
    """uint8 HxWx3 in RGB order, turned as its EXIF orientation says; alpha is dropped, 16 bits are scaled to 8.

    Raises ModelFileError naming the file if it is missing, truncated, too large or not an image.
    """
    image = _decode(path)
    if image.mode.startswith("I"):
        # 65535 = 257 * 255: this maps the 16-bit range onto the 8-bit one with both ends exact.
        wide = np.clip(np.asarray(image, np.float64), 0, 65535)
        return np.repeat(np.rint(wide / 257).astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


def read_mask(path: Path) -> np.ndarray:
    """uint8 HxW class numbers: the values of a gray PNG, or the palette's indices (not its colours).

    Raises ModelFileError naming the file if it is no such image.
    """
    image = _decode(path, ("PNG",))
    if image.mode not in ("L", "P", "1"):
        raise ModelFileError(
            f"the mask {path} has no class numbers",
            expected="a PNG with one 8-bit channel or a palette, each value a class number",
            found=f"mode {image.mode}",
            remedy="save masks as 8-bit single-channel PNG",
        )
    return np.asarray(image, np.uint8)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 HxWx3 or HxWx1 as PNG with nothing in it but the pixels."""
    flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(np.ascontiguousarray(flat)).save(path, format="PNG", compress_level=6)


def _decode(path: Path, formats: tuple[str, ...] = ("PNG", "JPEG")) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow only warns between one and two times its limit; for files of unknown origin that is too late.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats) as image:
                image.load()
                return ImageOps.exif_transpose(image)
    except FileNotFoundError as error:
        raise ModelFileError(
            f"the image {path} is not there", expected="a PNG or JPEG file", found="no file"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ModelFileError(
            f"the image {path} is too large",
            expected=f"at most {Image.MAX_IMAGE_PIXELS} pixels",
            found=str(error),
            remedy="make it smaller, or take it out",
        ) from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's decoders raise all three on broken files.
        raise ModelFileError(
            f"the image {path} cannot be read",
            expected=f"a whole {' or '.join(formats)} file",
            found=str(error),
            remedy="replace the file, or take it out",
        ) from error


def _walk(folder: Path, recursive: bool) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if recursive and entry.is_dir():
                yield from _walk(Path(entry.path), recursive)
            elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                yield Path(entry.path)
