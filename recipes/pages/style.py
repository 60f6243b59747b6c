"""What the parts of a page have in common: faces, sizes, colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Style:
    """What a page's parts have in common."""

    body: Path
    heading: Path
    size: int
    """Of the body text, pixels an em."""
    ink: Colour
    accent: Colour
    paper: Colour
    leading: float
    """Distance of lines in ems."""


def random_style(random: np.random.Generator, faces: Sequence[Path], size: int) -> Style:
    """Two faces and colours that can be read on each other."""
    body, heading = (faces[index] for index in random.integers(len(faces), size=2))
    dark = tuple(int(part) for part in random.integers(0, 70, size=3))
    accents = [(20, 20, 20), (30, 60, 130), (140, 30, 30), (20, 100, 60), (90, 40, 120), (160, 80, 10), dark]
    light = int(random.integers(238, 256))
    paper = (255, 255, 255) if random.random() < 0.6 else (light, light, int(random.integers(light - 10, light + 1)))
    accent = accents[random.integers(len(accents))]
    return Style(body, heading, size, dark, accent, paper, float(random.uniform(1.15, 1.6)))  # type: ignore[arg-type]
