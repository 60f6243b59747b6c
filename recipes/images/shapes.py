"""Outlines of objects, as signed distances: negative inside, 0 on the edge.

A shape is a function of a random generator and of coordinates u and v whose unit is the object's radius, its center at
0; it returns the distance in the same unit, float32 (near the edge: exact or close to it; far away only the sign
counts).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recipes.images.textures import Field

Shape = Callable[[np.random.Generator, Field, Field], Field]


def ellipse(random: np.random.Generator, u: Field, v: Field) -> Field:
    flat = random.uniform(0.45, 1)
    return _float32((np.hypot(u, v / flat) - 1) * flat)


def box(random: np.random.Generator, u: Field, v: Field) -> Field:
    """A rectangle with corners from sharp to round."""
    half = np.array([0.9, random.uniform(0.35, 0.9)])
    corner = random.uniform(0, 0.9) * half[1]
    across, down = np.abs(u) - half[0] + corner, np.abs(v) - half[1] + corner
    outside = np.hypot(np.maximum(across, 0), np.maximum(down, 0))
    return _float32(outside + np.minimum(np.maximum(across, down), 0) - corner)


def polygon(random: np.random.Generator, u: Field, v: Field) -> Field:
    """Three to seven sides, somewhat irregular: as far outside as the farthest side says."""
    n_sides = int(random.integers(3, 8))
    angles = 2 * np.pi * (np.arange(n_sides) + random.uniform(-0.2, 0.2, n_sides)) / n_sides
    reach = 0.85 * np.cos(np.pi / n_sides) * random.uniform(0.8, 1.1, n_sides)
    sides = [u * np.cos(angle) + v * np.sin(angle) - far for angle, far in zip(angles, reach, strict=True)]
    return _float32(np.max(sides, axis=0))


def star(random: np.random.Generator, u: Field, v: Field) -> Field:
    n_points, depth = int(random.integers(4, 9)), random.uniform(0.3, 0.6)
    phase = np.abs((np.arctan2(v, u) * n_points / (2 * np.pi)) % 1 - 0.5) * 2
    return _float32((np.hypot(u, v) - (1 - depth * (1 - phase))) * 0.6)


def flower(random: np.random.Generator, u: Field, v: Field) -> Field:
    n_petals, depth = int(random.integers(3, 9)), random.uniform(0.12, 0.3)
    radius = 1 - depth + depth * np.cos(np.arctan2(v, u) * n_petals)
    return _float32((np.hypot(u, v) - radius) * 0.7)


def blob(random: np.random.Generator, u: Field, v: Field) -> Field:
    """A round thing with random bumps."""
    angle = np.arctan2(v, u)
    radius = np.full_like(u, 0.8)
    for waves in range(2, 6):
        radius += random.uniform(-0.22, 0.22) / waves**0.5 * np.cos(waves * angle + random.uniform(0, 2 * np.pi))
    return _float32((np.hypot(u, v) - radius) * 0.8)


def ring(random: np.random.Generator, u: Field, v: Field) -> Field:
    thick = random.uniform(0.12, 0.3)
    return _float32(np.abs(np.hypot(u, v / random.uniform(0.6, 1)) - 1 + thick) - thick)


def stroke(random: np.random.Generator, u: Field, v: Field) -> Field:
    """A bent line of even width, as a pen draws it: near the nearest of points along a curve."""
    corners = random.uniform(-0.9, 0.9, (4, 2))
    t = np.linspace(0, 1, 24)[:, None]
    weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
    points = sum(weight * corner for weight, corner in zip(weights, corners, strict=True))
    nearest = np.full_like(u, np.inf)
    for point_u, point_v in np.asarray(points, np.float32):
        np.minimum(nearest, (u - point_u) ** 2 + (v - point_v) ** 2, out=nearest)
    return _float32(np.sqrt(nearest) - random.uniform(0.08, 0.2))


def cross(random: np.random.Generator, u: Field, v: Field) -> Field:
    arm = random.uniform(0.2, 0.4)
    upright = np.maximum(np.abs(u) - arm, np.abs(v) - 0.95)
    lying = np.maximum(np.abs(u) - 0.95, np.abs(v) - arm)
    return _float32(np.minimum(upright, lying))


def crescent(random: np.random.Generator, u: Field, v: Field) -> Field:
    bite = np.hypot(u - random.uniform(0.35, 0.6), v) - random.uniform(0.7, 0.85)
    return _float32(np.maximum(np.hypot(u, v) - 0.95, -bite))


def heart(random: np.random.Generator, u: Field, v: Field) -> Field:
    across, up = 1.2 * u, -1.2 * v + 0.15
    curve = np.cbrt(across**2) * random.uniform(0.7, 0.9)
    return _float32((np.hypot(across, up - curve) - 1) * 0.6)


def gear(random: np.random.Generator, u: Field, v: Field) -> Field:
    n_teeth = int(random.integers(7, 13))
    teeth = np.tanh(6 * np.cos(np.arctan2(v, u) * n_teeth))
    distance = np.hypot(u, v)
    return _float32(np.maximum(distance - 0.85 - 0.1 * teeth, random.uniform(0.15, 0.35) - distance))


SEEN: tuple[Shape, ...] = (ellipse, box, polygon, star, flower, blob, ring, stroke)
"""Kinds in training pictures."""

HELD_OUT: tuple[Shape, ...] = (cross, crescent, heart, gear)
"""Kinds that only evaluation pictures have."""


def _float32(values: NDArray[np.floating]) -> Field:
    return values.astype(np.float32, copy=False)
