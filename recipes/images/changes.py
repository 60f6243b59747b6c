"""What happens to a picture between gallery and query: the four kinds of change that recall is measured under."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance

Change = Callable[[np.random.Generator, Image.Image], Image.Image]


def crop(random: np.random.Generator, image: Image.Image) -> Image.Image:
    """A rectangle of 40 to 70% of the area, sides 3:4 to 4:3, at its own resolution."""
    area, aspect = random.uniform(0.4, 0.7), math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
    width = min(image.width, round(image.width * math.sqrt(area * aspect)))
    height = min(image.height, round(image.height * math.sqrt(area / aspect)))
    left = int(random.integers(image.width - width + 1))
    top = int(random.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def scale(random: np.random.Generator, image: Image.Image) -> Image.Image:
    """The whole picture at 0.4 to 0.75 or at 1.2 to 1.5 times its sides."""
    factor = random.uniform(0.4, 0.75) if random.uniform() < 0.7 else random.uniform(1.2, 1.5)
    size = round(image.width * factor), round(image.height * factor)
    return image.resize(size, Image.Resampling.LANCZOS)


def color(random: np.random.Generator, image: Image.Image) -> Image.Image:
    """Hue turned by up to a quarter of the circle; brightness, contrast and saturation changed; one in six grey."""
    hue, saturation, value = image.convert("HSV").split()
    turn = int(random.integers(-64, 65))
    hue = hue.point([(level + turn) % 256 for level in range(256)])
    image = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    image = ImageEnhance.Brightness(image).enhance(random.uniform(0.6, 1.4))
    image = ImageEnhance.Contrast(image).enhance(random.uniform(0.6, 1.4))
    is_grey = random.uniform() < 1 / 6
    return ImageEnhance.Color(image).enhance(0.0 if is_grey else random.uniform(0.4, 1.6))


def rotation(random: np.random.Generator, image: Image.Image) -> Image.Image:
    """By 15 to 180 degrees either way about the center, in the same frame; what comes from outside is black."""
    angle = random.uniform(15, 180) * random.choice((-1, 1))
    return image.rotate(angle, Image.Resampling.BILINEAR)


CHANGES: dict[str, Change] = {"crop": crop, "scale": scale, "color": color, "rotation": rotation}
