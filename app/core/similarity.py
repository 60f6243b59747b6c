"""Where on a page a query's tokens match: similarity maps and their hotspots."""

from dataclasses import dataclass

import numpy as np

from app.core.types import FloatArray, PatchGrid


@dataclass(frozen=True, slots=True)
class Hotspot:
    """One cell of a similarity map."""

    x: int
    """Column, counted from the left."""
    y: int
    """Row, counted from the top."""
    score: float


def similarity_maps(query: FloatArray, patches: FloatArray, grid: PatchGrid) -> FloatArray:
    """Dot product of each query token with each patch, laid out as the page is.

    `query` [n_tokens, dim]; `patches` [n_patches, dim], row-major as `grid` says.
    Returns [n_tokens, n_patches_y, n_patches_x]. Raises `ValueError` if `grid` has another number of patches.
    """
    if len(patches) != grid.n_patches:
        raise ValueError(f"{len(patches)} patches do not fill a grid of {grid.n_patches_x} x {grid.n_patches_y}")
    similarities: FloatArray = query @ patches.T
    return similarities.reshape(len(query), grid.n_patches_y, grid.n_patches_x)


def hotspots(similarity_map: FloatArray, n: int = 5) -> list[Hotspot]:
    """The `n` highest cells of a map [n_patches_y, n_patches_x], highest first; all of them if it has fewer.

    Equal scores come in reading order: top to bottom, then left to right.
    """
    order = np.argsort(-similarity_map, axis=None, kind="stable")[:n]
    rows, columns = np.unravel_index(order, similarity_map.shape)
    return [Hotspot(int(x), int(y), float(similarity_map[y, x])) for y, x in zip(rows, columns, strict=True)]
