"""Makes images/ and masks/: discs and boxes on a noisy ground, and which pixel belongs to which."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE, COUNT = 48, 160
GROUND, DISC, BOX = 0, 1, 2
random = np.random.default_rng(0)
rows, columns = np.mgrid[:SIZE, :SIZE]


def scene() -> tuple[np.ndarray, np.ndarray]:
    """An image of one to three shapes, discs reddish and boxes bluish, and its mask."""
    image = np.empty((SIZE, SIZE, 3))
    image[:] = random.integers(0, 100, 3)
    mask = np.full((SIZE, SIZE), GROUND, np.uint8)
    for _ in range(random.integers(1, 4)):
        y, x = random.integers(8, SIZE - 8, 2)
        size, kind = random.integers(5, 11), random.choice([DISC, BOX])
        far = np.hypot(rows - y, columns - x) if kind == DISC else np.maximum(abs(rows - y), abs(columns - x))
        image[far <= size] = random.integers(80, 200, 3) + (np.array([55, 0, -60]) if kind == DISC else [-60, 0, 55])
        mask[far <= size] = kind
    noisy = image + random.normal(0, 20, image.shape)
    return noisy.clip(0, 255).astype(np.uint8), mask


for folder in ("images", "masks"):
    Path(folder).mkdir(exist_ok=True)
for i in range(COUNT):
    image, mask = scene()
    Image.fromarray(image).save(Path("images", f"{i:03}.png"))
    Image.fromarray(mask).save(Path("masks", f"{i:03}.png"))
print(COUNT, "images with their masks; classes: 0 ground, 1 disc, 2 box")
