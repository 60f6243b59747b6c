"""Fewer rows for a multi-vector: means of rows that lie together, on the page or in their directions."""

from dataclasses import replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray, IntArray, MultiVectorEmbedding, PatchGrid
from app.core.ward import ward_labels


class Pooling(StrEnum):
    """Which rows are replaced by their mean."""

    NONE = "none"
    ROWS = "rows"
    COLUMNS = "columns"
    GRID = "grid"
    HIERARCHICAL = "hierarchical"


def pooled(embedding: MultiVectorEmbedding, pooling: Pooling, factor: int) -> MultiVectorEmbedding:
    """Take means, which are not scaled to unit length.

    `rows` and `columns`: one vector for each row, or column, of the page's grid. `grid`: one for each block of `factor`
    x `factor` patches, smaller at the right and lower edges. These need an embedding with a grid; rows before and after
    the patches stay as they are, and the result's grid counts the means. `hierarchical`: `n_rows // factor` clusters of
    all rows, in the order of their first rows; none of them is a patch any more, so the grid of the result is empty.
    """
    if pooling is Pooling.NONE:
        return embedding
    if pooling is Pooling.HIERARCHICAL:
        means = _cluster_means(embedding.vectors, factor)
        return MultiVectorEmbedding(means, grid=PatchGrid(0, 0) if embedding.grid else None)
    if embedding.grid is None:
        raise ValueError(f"{pooling} needs a grid of patches")
    return _block_means(embedding, embedding.grid, *_block(pooling, embedding.grid, factor))


def _block(pooling: Pooling, grid: PatchGrid, factor: int) -> tuple[int, int]:
    """Columns and rows of patches that share a mean."""
    if pooling is Pooling.ROWS:
        return grid.n_patches_x, 1
    if pooling is Pooling.COLUMNS:
        return 1, grid.n_patches_y
    return factor, factor


def _block_means(embedding: MultiVectorEmbedding, grid: PatchGrid, width: int, height: int) -> MultiVectorEmbedding:
    lefts, tops = np.arange(0, grid.n_patches_x, width), np.arange(0, grid.n_patches_y, height)
    patches = embedding.content.reshape(grid.n_patches_y, grid.n_patches_x, -1)
    sums = np.add.reduceat(np.add.reduceat(patches, tops, axis=0), lefts, axis=1)
    widths = np.diff(lefts, append=grid.n_patches_x)
    heights = np.diff(tops, append=grid.n_patches_y)
    means = sums / np.outer(heights, widths)[:, :, None].astype(np.float32)
    before = embedding.vectors[: embedding.start]
    after = embedding.vectors[embedding.start + grid.n_patches :]
    vectors = np.concatenate([before, means.reshape(-1, means.shape[-1]), after])
    return replace(embedding, vectors=vectors, grid=PatchGrid(len(lefts), len(tops)))


def _cluster_means(vectors: FloatArray, factor: int) -> FloatArray:
    """Means of clusters of [n_rows, dim]: those of colpali-engine's `HierarchicalTokenPooler`."""
    if not np.isfinite(vectors).all():
        # Nothing is nearest to them: no clustering would end.
        raise FloatingPointError("The model wrote numbers that are not finite.")
    n_clusters = max(len(vectors) // factor, 1)
    if n_clusters >= len(vectors):
        return vectors
    return _means(vectors, ward_labels(_similarity_points(vectors), n_clusters))


def _similarity_points(vectors: FloatArray) -> NDArray[Any]:
    """Points whose distances are those between the rows of the similarity matrix `vectors @ vectors.T`.

    The reference clusters these rows, [n_rows, n_rows]. With C = vectors.T @ vectors the square of the distance of two
    of them is d.T @ C @ d, where d is the difference of the two vectors: `dim` numbers a point say the same.
    """
    n_rows, dim = vectors.shape
    if n_rows <= dim:
        return vectors @ vectors.T
    wide = vectors.astype(np.float64)
    eigenvalues, eigenvectors = np.linalg.eigh(wide.T @ wide)
    points: NDArray[np.float64] = wide @ (eigenvectors * np.sqrt(np.maximum(eigenvalues, 0)))
    return points


def _means(vectors: FloatArray, labels: IntArray) -> FloatArray:
    """Mean of the rows of each label: [n_labels, dim]."""
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(vectors[order], starts)
    return (sums / counts[:, None]).astype(np.float32)
