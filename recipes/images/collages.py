"""Collages: pieces of pictures before backgrounds without objects. Where the pieces lie is known.

Telling them from what lies behind (as CP2 does: Wang et al., arXiv:2203.11709) teaches what belongs together.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from recipes.images.scenes import SIDE, TRAINING, Picture, color_apart, draw
from recipes.images.textures import Field

N_PIECES = (2, 9)


def collage(seed: int, number: int, pictures: NDArray[np.uint8]) -> Picture:
    """The collage of that number out of `pictures` [n, SIDE, SIDE, 3]; its mask is true on pieces.

    Pieces have outlines, shadows and light as objects have, but nothing of the pictures' own objects is made use of.
    """
    return draw(seed, number, TRAINING, n_objects=N_PIECES, fill=partial(_piece, pictures=pictures))


def _piece(
    random: np.random.Generator, below: NDArray[np.float32], u: Field, v: Field, pictures: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """A window of any picture in another color; two of five are plain."""
    (height, width), picture = u.shape, pictures[int(random.integers(len(pictures)))]
    top, left = int(random.integers(SIDE - height + 1)), int(random.integers(SIDE - width + 1))
    window = picture[top : top + height, left : left + width] / np.float32(255)
    strength = np.float32(random.uniform(0.3, 1.5) if random.uniform() < 0.6 else 0)
    color = color_apart(random, below.mean(axis=(0, 1)), 0.45)
    piece: NDArray[np.float32] = color + strength * (window - window.mean(axis=(0, 1)))
    return piece
