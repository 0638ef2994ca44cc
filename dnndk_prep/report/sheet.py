"""The calibration images as small pictures inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence

from PIL import Image

from dnndk_prep.report.facts import Picture

# Of each image so many pixels on its longer side, as many images as are read in about a second, and no more than this.
SIDE, PIXELS, SHOWN = 96, 1 << 25, 100
# An image that is no larger goes into the page as it is.
AS_IT_IS = 16 << 10


def thumbnails(pictures: Sequence[Picture]) -> Iterator[tuple[str, str, str | None]]:
    """Name, data URI and class of the first pictures; their size decides how many, eight at least."""
    read = 0
    for i, picture in enumerate(pictures[:SHOWN]):
        with Image.open(picture.path) as image:
            read += image.width * image.height
            if i >= 8 and read > PIXELS:
                return
            yield picture.path.name, _uri(picture, image), picture.label


def _uri(picture: Picture, image: Image.Image) -> str:
    if max(image.size) <= SIDE and picture.path.stat().st_size <= AS_IT_IS:
        return _data("png", picture.path.read_bytes())
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=80)
    return _data("jpeg", stream.getvalue())


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
