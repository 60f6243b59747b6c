"""Pooling keeps the page's layout; clusters are the reference's."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from app.core.pooling import Pooling, pooled
from app.core.types import FloatArray, MultiVectorEmbedding, PatchGrid
from app.core.vectors import unit
from app.core.ward import ward_labels

BEFORE, AFTER = 2, 1
GRID = PatchGrid(n_patches_x=5, n_patches_y=3)


@pytest.fixture
def page() -> MultiVectorEmbedding:
    """Patch (x, y) is the vector (x, y, x * y), between rows of -1."""
    patches = [(x, y, x * y) for y in range(GRID.n_patches_y) for x in range(GRID.n_patches_x)]
    rows = np.float32([*[(-1, -1, -1)] * BEFORE, *patches, *[(-1, -1, -1)] * AFTER])
    return MultiVectorEmbedding(rows, start=BEFORE, grid=GRID)


def test_none_changes_nothing(page: MultiVectorEmbedding) -> None:
    assert pooled(page, Pooling.NONE, 2) is page


def test_rows_of_a_page_that_is_not_square(page: MultiVectorEmbedding) -> None:
    result = pooled(page, Pooling.ROWS, 2)
    assert result.grid == PatchGrid(1, 3)
    np.testing.assert_allclose(result.content, [(2, y, 2 * y) for y in range(3)])


def test_columns_of_a_page_that_is_not_square(page: MultiVectorEmbedding) -> None:
    result = pooled(page, Pooling.COLUMNS, 2)
    assert result.grid == PatchGrid(5, 1)
    np.testing.assert_allclose(result.content, [(x, 1, x) for x in range(5)])


def test_blocks_are_smaller_at_the_right_and_lower_edges(page: MultiVectorEmbedding) -> None:
    result = pooled(page, Pooling.GRID, 2)
    assert result.grid == PatchGrid(3, 2)
    expected = [(0.5, 0.5), (2.5, 0.5), (4, 0.5), (0.5, 2), (2.5, 2), (4, 2)]
    np.testing.assert_allclose(result.content[:, :2], expected)


@pytest.mark.parametrize("pooling", [Pooling.ROWS, Pooling.COLUMNS, Pooling.GRID])
def test_rows_beside_the_patches_stay(page: MultiVectorEmbedding, pooling: Pooling) -> None:
    result = pooled(page, pooling, 2)
    assert result.grid is not None
    assert (result.start, len(result.vectors)) == (BEFORE, BEFORE + result.grid.n_patches + AFTER)
    np.testing.assert_array_equal(result.vectors[:BEFORE], page.vectors[:BEFORE])
    np.testing.assert_array_equal(result.vectors[-AFTER:], page.vectors[-AFTER:])


def test_a_block_larger_than_the_page_is_the_page(page: MultiVectorEmbedding) -> None:
    result = pooled(page, Pooling.GRID, 1000)
    np.testing.assert_allclose(result.content, page.content.mean(axis=0, keepdims=True), rtol=1e-6)


def test_blocks_of_one_patch_change_nothing(page: MultiVectorEmbedding) -> None:
    np.testing.assert_array_equal(pooled(page, Pooling.GRID, 1).vectors, page.vectors)


def test_what_has_no_grid_has_no_rows_and_columns() -> None:
    with pytest.raises(ValueError, match="needs a grid"):
        pooled(MultiVectorEmbedding(np.zeros((3, 4), np.float32)), Pooling.ROWS, 2)


def clustered(n_rows: int, dim: int, seed: int) -> FloatArray:
    """Unit vectors around a tenth as many directions."""
    random = np.random.default_rng(seed)
    directions = random.standard_normal((max(n_rows // 10, 2), dim))
    noise = 0.7 * random.standard_normal((n_rows, dim))
    return unit((directions[random.integers(len(directions), size=n_rows)] + noise).astype(np.float32))


def reference(rows: FloatArray, factor: int) -> FloatArray:
    """What colpali-engine 0.3.18 does in `HierarchicalTokenPooler._pool_single_embedding`."""
    distances = 1 - rows @ rows.T
    labels = fcluster(linkage(distances, "ward"), max(len(rows) // factor, 1), "maxclust")
    return np.stack([rows[labels == label].mean(axis=0) for label in sorted(set(labels))])


def in_some_order(rows: FloatArray) -> FloatArray:
    return rows[np.lexsort(rows.T[:3])]


@pytest.mark.parametrize("factor", [2, 3, 8, 1000])
@pytest.mark.parametrize(("n_rows", "dim"), [(200, 32), (64, 128), (33, 16)])
def test_clusters_are_the_references(n_rows: int, dim: int, factor: int) -> None:
    for seed in range(3):
        rows = clustered(n_rows, dim, seed)
        result = pooled(MultiVectorEmbedding(rows), Pooling.HIERARCHICAL, factor)
        np.testing.assert_allclose(in_some_order(result.vectors), in_some_order(reference(rows, factor)), atol=1e-5)


def test_clusters_come_in_the_order_of_their_first_rows() -> None:
    near = np.float32([[1, 0], [0, 1], [1, 0.01], [0.01, 1]])
    result = pooled(MultiVectorEmbedding(near, ("a", "b", "c", "d")), Pooling.HIERARCHICAL, 2)
    np.testing.assert_allclose(result.vectors, [[1, 0.005], [0.005, 1]])
    assert (result.tokens, result.grid) == ((), None)


def test_clusters_of_a_page_are_no_patches(page: MultiVectorEmbedding) -> None:
    result = pooled(page, Pooling.HIERARCHICAL, 3)
    assert result.grid == PatchGrid(0, 0)
    assert len(result.content) == 0
    assert len(result.vectors) == 18 // 3


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_few_rows(n_rows: int) -> None:
    rows = np.eye(2, 4, dtype=np.float32)[:n_rows]
    assert len(pooled(MultiVectorEmbedding(rows), Pooling.HIERARCHICAL, 2).vectors) == min(n_rows, 1)
    np.testing.assert_array_equal(pooled(MultiVectorEmbedding(rows), Pooling.HIERARCHICAL, 1).vectors, rows)


def test_equal_rows_end_in_one_cluster() -> None:
    """A blank page: every merge is at height 0, so there is no threshold that leaves two clusters, as in scipy."""
    assert ward_labels(np.ones((20, 3)), 5).tolist() == [0] * 20
    rows = np.repeat(np.eye(3, dtype=np.float32), 10, axis=0)
    result = pooled(MultiVectorEmbedding(rows), Pooling.HIERARCHICAL, 3)
    np.testing.assert_allclose(result.vectors, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("n_rows", [3, 30])
def test_rows_that_are_not_finite_are_an_error_and_no_endless_loop(n_rows: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((n_rows, 8)).astype(np.float32)
    vectors[1, 2] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        pooled(MultiVectorEmbedding(vectors), Pooling.HIERARCHICAL, 2)
