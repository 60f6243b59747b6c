"""Patterns without objects, as fields of numbers from 0 to 1: what backgrounds and fills are colored by.

A pattern is a function of a random generator and of the points' coordinates x and y (any equal shape, the picture's
side is 1); it returns an array of that shape, float32.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]
Texture = Callable[[np.random.Generator, Field, Field], Field]


def grid(size: int) -> tuple[Field, Field]:
    """x and y of the centers of a square picture's pixels, each [size, size]."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    return np.tile(line, (size, 1)), np.repeat(line[:, None], size, axis=1)


def gradient(random: np.random.Generator, x: Field, y: Field) -> Field:
    u, _ = _turned(random, x, y)
    return _stretched(u)


def glow(random: np.random.Generator, x: Field, y: Field) -> Field:
    """Bright around one point."""
    center = random.uniform(0, 1, 2)
    return _float32(np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / random.uniform(0.05, 0.5)))


def noise(random: np.random.Generator, x: Field, y: Field) -> Field:
    """Octaves of smooth noise: clouds at one end, grain at the other."""
    cells = int(random.integers(2, 9))
    persistence = random.uniform(0.35, 0.8)
    total = np.zeros_like(x)
    for octave in range(4):
        total += persistence**octave * _smooth_noise(random, x, y, cells * 2**octave)
    return _stretched(total)


def marble(random: np.random.Generator, x: Field, y: Field) -> Field:
    u, _ = _turned(random, x, y)
    bend = _smooth_noise(random, x, y, int(random.integers(3, 7)))
    return _wave(u * random.uniform(3, 10) + bend * random.uniform(0.8, 2.5))


def wood(random: np.random.Generator, x: Field, y: Field) -> Field:
    """Rings around a point that may lie outside."""
    center = random.uniform(-0.5, 1.5, 2)
    radius = np.hypot((x - center[0]) * random.uniform(0.5, 1.5), y - center[1])
    return _wave(_float32(radius * random.uniform(5, 22) + _smooth_noise(random, x, y, 4) * random.uniform(0.2, 1)))


def stripes(random: np.random.Generator, x: Field, y: Field) -> Field:
    u, _ = _turned(random, x, y)
    return _sharpened(random, _wave(u * random.uniform(3, 22) + random.uniform()))


def zigzag(random: np.random.Generator, x: Field, y: Field) -> Field:
    u, v = _turned(random, x, y)
    frequency = random.uniform(3, 10)
    teeth = np.abs((v * frequency * random.uniform(0.7, 1.5)) % 1 - 0.5) * random.uniform(0.6, 2)
    return _sharpened(random, _wave(u * frequency + teeth))


def checks(random: np.random.Generator, x: Field, y: Field) -> Field:
    u, v = _turned(random, x, y)
    across, along = random.uniform(2, 11), random.uniform(0.6, 1.6)
    product = np.sin(2 * np.pi * u * across) * np.sin(2 * np.pi * v * across * along)
    return _float32(0.5 + 0.5 * np.tanh(product * random.uniform(1, 8)))


def dots(random: np.random.Generator, x: Field, y: Field) -> Field:
    u, v = _turned(random, x, y)
    frequency = random.uniform(4, 15)
    row = np.floor(v * frequency)
    distance = np.hypot((u * frequency + 0.5 * (row % 2)) % 1 - 0.5, (v * frequency) % 1 - 0.5)
    return _step(random.uniform(0.18, 0.42) - distance, 0.08)


def cells(random: np.random.Generator, x: Field, y: Field) -> Field:
    """Distance to the nearest of scattered points: cobbles, scales of a reptile."""
    points = random.uniform(-0.1, 1.1, (int(random.integers(10, 45)), 2)).astype(np.float32)
    nearest = np.full_like(x, np.inf)
    for point_x, point_y in points:
        np.minimum(nearest, (x - point_x) ** 2 + (y - point_y) ** 2, out=nearest)
    return _stretched(np.sqrt(nearest))


def bricks(random: np.random.Generator, x: Field, y: Field) -> Field:
    u, v = _turned(random, x, y)
    rows, gap = random.uniform(4, 10), random.uniform(0.05, 0.15)
    row = np.floor(v * rows)
    column = (u * rows * random.uniform(0.4, 0.6) + 0.5 * (row % 2)) % 1
    joint = np.minimum(np.minimum(column, 1 - column) * 2, np.minimum(v * rows % 1, 1 - v * rows % 1))
    return _step(joint - gap, 0.05)


def plaid(random: np.random.Generator, x: Field, y: Field) -> Field:
    u, v = _turned(random, x, y)
    frequency = random.uniform(2, 7)
    return _float32(0.5 * _bands(random, u * frequency) + 0.5 * _bands(random, v * frequency))


def scales(random: np.random.Generator, x: Field, y: Field) -> Field:
    """Rows of overlapping discs, as roof tiles and fish have."""
    u, v = _turned(random, x, y)
    frequency = random.uniform(4, 12)
    row = np.floor(v * frequency)
    return _float32(np.hypot((u * frequency + 0.5 * (row % 2)) % 1 - 0.5, v * frequency % 1) / 1.2)


SEEN: tuple[Texture, ...] = (gradient, glow, noise, marble, wood, stripes, zigzag, checks, dots, cells)
"""Kinds in training pictures."""

HELD_OUT: tuple[Texture, ...] = (bricks, plaid, scales)
"""Kinds that only evaluation pictures have."""


def _turned(random: np.random.Generator, x: Field, y: Field) -> tuple[Field, Field]:
    """The coordinates turned by a random angle."""
    angle = random.uniform(0, 2 * np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def _smooth_noise(random: np.random.Generator, x: Field, y: Field, cells: int) -> Field:
    """Random numbers -1 to 1 at the corners of cells x cells squares, bicubic between them. x, y: those of `grid`."""
    corners = random.uniform(-1, 1, (cells + 1, cells + 1)).astype(np.float32)
    return np.asarray(Image.fromarray(corners).resize(x.shape[::-1], Image.Resampling.BICUBIC))


def _bands(random: np.random.Generator, position: Field) -> Field:
    edges = np.sort(random.uniform(0, 1, 4))
    phase = position % 1
    return _float32(((phase > edges[0]) & (phase < edges[1])) + 0.5 * ((phase > edges[2]) & (phase < edges[3])))


def _wave(phase: Field) -> Field:
    return _float32(0.5 + 0.5 * np.sin(2 * np.pi * phase))


def _sharpened(random: np.random.Generator, field: Field) -> Field:
    return _float32(0.5 + 0.5 * np.tanh((field - random.uniform(0.35, 0.65)) * random.uniform(2, 12)))


def _step(field: Field, width: float) -> Field:
    """0 where `field` is below 0, 1 above `width`."""
    return _float32(np.clip(field / width, 0, 1))


def _stretched(field: Field) -> Field:
    low, high = field.min(), field.max()
    return _float32((field - low) / max(high - low, 1e-6))


def _float32(values: NDArray[np.floating]) -> Field:
    return values.astype(np.float32, copy=False)
