"""Generated pictures: objects with a fill, light, an outline and a shadow before textured backgrounds.

Every picture follows from a seed and its number alone. The generator knows which pixels are objects.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from recipes.images import shapes, textures
from recipes.images.shapes import Shape
from recipes.images.textures import Field, Texture

SIDE = 224
"""Pixels of a picture each way; `side` below."""

Color = NDArray[np.float32]
"""[3], 0 to 1, red, green, blue"""


Fill = Callable[[np.random.Generator, NDArray[np.float32], Field, Field], NDArray[np.float32]]
"""What an object is colored by: [rows, columns, 3], from the canvas below it and from its own coordinates u and v."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """What a set of pictures is composed of."""

    shapes: tuple[Shape, ...]
    textures: tuple[Texture, ...]


TRAINING = Kinds(shapes.SEEN, textures.SEEN)
EVALUATION = Kinds(shapes.SEEN + shapes.HELD_OUT, textures.SEEN + textures.HELD_OUT)


@dataclass(frozen=True, slots=True)
class Picture:
    pixels: NDArray[np.uint8]
    """[side, side, 3], RGB"""
    mask: NDArray[np.bool_]
    """[side, side], true on objects; shadows are background"""


def draw(
    seed: int, number: int, kinds: Kinds, *, n_objects: tuple[int, int] | None = None, fill: Fill | None = None
) -> Picture:
    """The picture of that number; `n_objects` is the range of their count, by default any mix, none included."""
    random = np.random.default_rng((seed, number))
    x, y = textures.grid(SIDE)
    canvas = _background(random, kinds, x, y)
    low, high = n_objects or _usual_count(random)
    mask = np.zeros((SIDE, SIDE), bool)
    for _ in range(int(random.integers(low, high + 1))):
        _add_object(random, kinds, fill or partial(_pattern, kinds=kinds), canvas, mask, x, y)
    _light(random, canvas, x, y)
    return Picture((np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8), mask)


def patch_labels(mask: NDArray[np.bool_], patch_size: int) -> NDArray[np.bool_]:
    """Of each patch: is it an object by majority? [side, side] -> [side // patch_size, side // patch_size]"""
    n = mask.shape[0] // patch_size
    labels: NDArray[np.bool_] = mask.reshape(n, patch_size, n, patch_size).mean(axis=(1, 3)) > 0.5
    return labels


def _usual_count(random: np.random.Generator) -> tuple[int, int]:
    return (0, 0) if random.uniform() < 0.12 else (1, 6)


def _background(random: np.random.Generator, kinds: Kinds, x: Field, y: Field) -> NDArray[np.float32]:
    """[side, side, 3]: one texture, or hills of further ones before it."""
    canvas = _filled(random, kinds, x, y, random.uniform(0.05, 0.45))
    n_hills = int(random.choice(3, p=[0.6, 0.25, 0.15]))
    for hill in range(n_hills):
        crest = random.uniform(0.35, 0.6) + 0.25 * hill
        bends = [random.uniform(-0.1, 0.1) * np.sin(x * wave + random.uniform(0, 6)) for wave in (3, 7)]
        before = np.clip((y - crest - sum(bends)) * len(canvas), 0, 1)[..., None].astype(np.float32)
        canvas += before * (_filled(random, kinds, x, y, random.uniform(0.05, 0.45)) - canvas)
    return canvas


def _filled(random: np.random.Generator, kinds: Kinds, x: Field, y: Field, contrast: float) -> NDArray[np.float32]:
    """A texture between two colors `contrast` apart: [..., 3]."""
    field = kinds.textures[int(random.integers(len(kinds.textures)))](random, x, y)
    first = _color(random)
    return first + (field * contrast)[..., None] * (color_apart(random, first, 0.5) - first)


def color_apart(random: np.random.Generator, other: Color, distance: float) -> Color:
    """The first of 20 random colors at least that far from `other` in the cube, else the last."""
    for _ in range(20):
        color = _color(random)
        if np.linalg.norm(color - other) >= distance:
            break
    return color


def _add_object(
    random: np.random.Generator,
    kinds: Kinds,
    fill: Fill,
    canvas: NDArray[np.float32],
    mask: NDArray[np.bool_],
    x: Field,
    y: Field,
) -> None:
    """Paint one object over `canvas` and mark it in `mask`."""
    center, radius = random.uniform(0.1, 0.9, 2), random.uniform(0.08, 0.28)
    rows, columns = _window(center, radius + 0.15, len(x))
    x, y, below = x[rows, columns], y[rows, columns], canvas[rows, columns]
    angle = random.uniform(0, 2 * np.pi)
    cos, sin = np.float32(np.cos(angle) / radius), np.float32(np.sin(angle) / radius)
    u = cos * (x - center[0]) + sin * (y - center[1])
    v = cos * (y - center[1]) - sin * (x - center[0])
    distance = kinds.shapes[int(random.integers(len(kinds.shapes)))](random, u, v) * np.float32(radius)
    _cast_shadow(random, below, distance)
    inside = np.clip(0.5 - distance * len(canvas), 0, 1)[..., None]
    below += inside * (_lit(random, fill(random, below, u, v), distance, u, v) - below)
    mask[rows, columns] |= distance < 0


def _window(center: NDArray[np.float64], reach: float, side: int) -> tuple[slice, slice]:
    """Rows and columns of the pixels within `reach` of `center` (x, y), both in sides."""
    low = np.clip((center - reach) * side, 0, side).astype(int)
    high = np.clip((center + reach) * side + 1, 0, side).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _pattern(
    random: np.random.Generator, below: NDArray[np.float32], u: Field, v: Field, kinds: Kinds
) -> NDArray[np.float32]:
    """One color, or a texture that goes with the object."""
    first = color_apart(random, below.mean(axis=(0, 1)), 0.45)
    surface = np.broadcast_to(first, (*u.shape, 3)).copy()
    if random.uniform() < 0.6:
        texture = kinds.textures[int(random.integers(len(kinds.textures)))]
        scale = np.float32(random.uniform(0.15, 0.4))
        field = texture(random, u * scale + 0.5, v * scale + 0.5)
        surface += (field * random.uniform(0.2, 0.9))[..., None] * (_color(random) - first)
    return surface


def _lit(
    random: np.random.Generator, surface: NDArray[np.float32], distance: Field, u: Field, v: Field
) -> NDArray[np.float32]:
    """Light from one side, and an outline."""
    angle = random.uniform(0, 2 * np.pi)
    light = random.uniform(0.05, 0.35) * (u * np.cos(angle) + v * np.sin(angle))
    rim = random.uniform(0.0, 0.6) * np.exp(np.minimum(distance, 0) / random.uniform(0.006, 0.025))
    shading = np.asarray((1 + light) * (1 - rim), np.float32)
    lit: NDArray[np.float32] = surface * shading[..., None]
    return lit


def _cast_shadow(random: np.random.Generator, below: NDArray[np.float32], distance: Field) -> None:
    """Darken around the object, as diffuse light from everywhere does; half of the objects have no shadow."""
    if random.uniform() < 0.5:
        dark = random.uniform(0.2, 0.6) * np.exp(-np.maximum(distance, 0) / random.uniform(0.008, 0.035))
        below *= (1 - dark)[..., None].astype(np.float32)


def _light(random: np.random.Generator, canvas: NDArray[np.float32], x: Field, y: Field) -> None:
    """The whole picture brighter towards one side, and the camera's grain."""
    slope = random.uniform(-0.25, 0.25, 2)
    canvas *= (1 + slope[0] * (x - 0.5) + slope[1] * (y - 0.5)).astype(np.float32)[..., None]
    canvas += random.standard_normal(canvas.shape, dtype=np.float32) * np.float32(random.uniform(0, 0.025))


def _color(random: np.random.Generator) -> Color:
    """From grey to saturated: uniform in the cube, pulled towards its own mean by chance."""
    color = random.uniform(0.02, 0.98, 3)
    pulled: Color = (color + random.uniform(0, 0.7) * (color.mean() - color)).astype(np.float32)
    return pulled
