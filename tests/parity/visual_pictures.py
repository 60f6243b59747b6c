"""Pages for the tests of the visual families: reproducible, each with a pattern of its own."""

import io

import numpy as np
from PIL import Image


def page(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture of smooth coloured blotches with some sharp dark bars, like print."""
    random = np.random.default_rng([seed, width, height])
    blotches = random.integers(0, 256, (height // 24 + 2, width // 24 + 2, 3), dtype=np.uint8)
    pixels = np.array(Image.fromarray(blotches).resize((width, height), Image.Resampling.BICUBIC))
    for _ in range(12):
        x, y = random.integers(0, width), random.integers(0, height)
        pixels[y : y + max(1, height // 40), x : x + max(1, width // 4)] = random.integers(0, 60)
    return Image.fromarray(pixels)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
