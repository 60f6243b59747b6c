"""Pages as people scan and export them: A4 at 150 dots an inch, lines of print around a photograph."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 1240, 1754
MARGIN, LEADING = 70, 26
WORDS = ("the", "revenue", "of", "third", "quarter", "grew", "by", "nine", "percent", "and", "margin", "operating")
JPEG_QUALITY = 90


def page(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """One page; each `seed` has words and a photograph of its own."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(18)
    for y in range(MARGIN, height - MARGIN, LEADING):
        draw.text((MARGIN, y), " ".join(random.choice(WORDS, 14)), fill=(20, 20, 20), font=font)
    image.paste(_photograph(random, width // 2, height // 4), (width // 4, height * 2 // 5))
    return image


def encoded(image: Image.Image, file_format: str) -> bytes:
    """The image as a PNG or JPEG file."""
    file = io.BytesIO()
    image.save(file, file_format, quality=JPEG_QUALITY)
    return file.getvalue()


def _photograph(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """Smooth colours with the grain that makes photographs large as files."""
    coarse = Image.fromarray(random.integers(0, 256, (12, 20, 3), dtype=np.uint8)).resize((width, height))
    grain = random.integers(-12, 13, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8))
