"""Pages of coloured squares, and queries in a language that no model knows: it has a word for each colour."""

import json
import random
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from app.training.folders import IMAGES
from app.training.options import LoraOptions, Method, TrainingOptions
from app.training.task import DATASET_FILE, TrainingTask

COLOURS = {
    "zorblat": (220, 30, 30),
    "quindle": (30, 160, 50),
    "mervox": (40, 60, 210),
    "tashpin": (230, 200, 30),
    "blunk": (20, 20, 20),
    "frenosy": (150, 40, 160),
    "gadril": (30, 190, 200),
    "wexom": (240, 130, 20),
    "ulmick": (140, 90, 40),
    "sorvane": (250, 150, 190),
    "pyxel": (130, 130, 130),
    "dorrit": (150, 230, 60),
}
N_PAGES = 220
"""Every three colours of twelve: no two pages have the same."""
SQUARE = 28
"""Side in pixels: that of a visual token of the Qwen families."""


def page(words: list[str], seed: int) -> Image.Image:
    """The colours of `words` in other shades, on squares of their own among nine, and noise around them."""
    noise = np.random.default_rng(seed)
    pixels = noise.integers(225, 256, (3 * SQUARE, 3 * SQUARE, 3), dtype=np.uint8)
    for word, place in zip(words, noise.choice(9, len(words), replace=False), strict=True):
        y, x = SQUARE * (place // 3), SQUARE * (place % 3)
        shade = np.array(COLOURS[word]) + noise.integers(-12, 13, 3)
        pixels[y : y + SQUARE, x : x + SQUARE] = np.clip(shade, 0, 255)
    return Image.fromarray(pixels)


def write_pages(folder: Path, n_pages: int = N_PAGES) -> None:
    """A job's dataset; the same at every call."""
    (folder / IMAGES).mkdir(parents=True)
    shuffled = random.Random(0)
    found = shuffled.sample(list(combinations(COLOURS, 3)), n_pages)
    with (folder / DATASET_FILE).open("w") as dataset:
        for number, words in enumerate(found):
            page(list(words), number).save(folder / IMAGES / f"{number:06}.png")
            query = " ".join(shuffled.sample(words, 3))
            dataset.write(json.dumps({"query": query, "image": f"{number:06}.png"}) + "\n")


def page_task(
    family: str,
    models_dir: Path,
    options: TrainingOptions,
    lora: LoraOptions,
    model_name: str = "my-pages",
    device: str = "cpu",
) -> TrainingTask:
    """A job that trains the small checkpoint of the family under `models_dir`."""
    base = f"untrained/{family}"
    return TrainingTask("job", model_name, family, base, models_dir / base, Method.LORA, device, options, lora)
