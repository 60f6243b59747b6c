"""What each visual token of a page should mean: the words and shapes that lie on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes.pages.page import Mark

BACKGROUND = 0
"""Class of a token with nothing on it, and of one with a number."""

LEAST_ACROSS, LEAST_DOWN = 0.35, 0.4
"""Share of a token or of the word, whichever is smaller, that must overlap for the token to be the word's."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Weighted classes of tokens, as rows of a sparse matrix [n_tokens, n_classes]."""

    tokens: NDArray[np.int64]
    classes: NDArray[np.int64]
    weights: NDArray[np.float32]
    """Those of one token add up to 1. A token without any is one that is too little covered to say."""


def labels(marks: Sequence[Mark], classes: Mapping[str, int], columns: int, rows: int, side: float) -> Labels:
    """Label a grid of `rows` x `columns` tokens in row-major order, each a square of `side` pixels.

    A token that several words share belongs to each in proportion to the area.
    """
    touched = np.zeros(rows * columns, bool)
    found_tokens, found_classes, found_areas = [], [], []
    for mark in marks:
        across = _overlaps(mark.box[0], mark.box[2], columns, side)
        down = _overlaps(mark.box[1], mark.box[3], rows, side)
        touched |= (down[:, None] * across[None]).ravel() > 0
        across = across * (across >= LEAST_ACROSS * min(side, mark.box[2] - mark.box[0]))
        down = down * (down >= LEAST_DOWN * min(side, mark.box[3] - mark.box[1]))
        areas = (down[:, None] * across[None]).ravel()
        tokens = np.flatnonzero(areas)
        indices = [classes[name] for name in mark.names if name in classes] or [BACKGROUND]
        for index in indices:
            found_tokens.append(tokens)
            found_classes.append(np.full(len(tokens), index))
            found_areas.append(areas[tokens] / len(indices))
    empty = np.flatnonzero(~touched)
    tokens = np.concatenate([*found_tokens, empty])
    areas = np.concatenate([*found_areas, np.ones(len(empty))])
    totals = np.bincount(tokens, areas, minlength=rows * columns)
    kinds = np.concatenate([*found_classes, np.full(len(empty), BACKGROUND)])
    return Labels(tokens, kinds, (areas / totals[tokens]).astype(np.float32))


def _overlaps(start: float, end: float, n: int, side: float) -> NDArray[np.float64]:
    """Length that [start, end] shares with each of `n` neighbouring intervals of length `side`."""
    edges = np.arange(n) * side
    lengths: NDArray[np.float64] = np.minimum(end, edges + side) - np.maximum(start, edges)
    return lengths.clip(min=0)
