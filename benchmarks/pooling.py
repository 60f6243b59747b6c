"""How long it takes to pool a page's rows, ours beside scipy: `make bench-pooling`.

colpali-engine's `HierarchicalTokenPooler` is `scipy.cluster.hierarchy` over the similarity matrix, as called here;
its loop over the clusters is left out in its favour.
"""

from functools import partial
from statistics import median

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from app.core.pooling import Pooling, pooled
from app.core.types import FloatArray, IntArray, MultiVectorEmbedding, PatchGrid
from app.core.vectors import unit
from benchmarks.report import Report, interleaved, ratio

ROUNDS = 7
POOL_FACTOR = 3
SHAPES = {"A page, 24 x 32 patches": (768, 128), "A text's ColBERT matrix": (511, 1024)}
NOISE = 0.7
"""Around the directions that rows share, as patches of one figure do."""


def rows(n_rows: int, dim: int) -> FloatArray:
    """Unit vectors [n_rows, dim] around a tenth as many directions."""
    random = np.random.default_rng(0)
    directions = random.standard_normal((n_rows // 10, dim))
    noise = NOISE * random.standard_normal((n_rows, dim))
    return unit((directions[random.integers(len(directions), size=n_rows)] + noise).astype(np.float32))


def by_scipy(vectors: FloatArray) -> IntArray:
    """The label of each row."""
    labels: IntArray = fcluster(linkage(1 - vectors @ vectors.T, "ward"), len(vectors) // POOL_FACTOR, "maxclust")
    return labels


def check(means: FloatArray, vectors: FloatArray) -> None:
    """Fails unless these are the means of scipy's clusters, in any order."""
    labels = by_scipy(vectors)
    expected = np.stack([vectors[labels == label].mean(axis=0) for label in np.unique(labels)])
    in_order, expected_in_order = (some[np.lexsort(some.T[:3])] for some in (means, expected))
    np.testing.assert_allclose(in_order, expected_in_order, atol=1e-5)


def main() -> None:
    report = Report("pooling", "Pooling of multi-vectors")
    for title, (n_rows, dim) in SHAPES.items():
        vectors = rows(n_rows, dim)
        page = MultiVectorEmbedding(vectors, grid=PatchGrid(24, 32) if n_rows == 24 * 32 else None)
        ways = {"hierarchical": partial(pooled, page, Pooling.HIERARCHICAL, POOL_FACTOR)}
        if page.grid:
            ways |= {str(way): partial(pooled, page, way, POOL_FACTOR) for way in (Pooling.ROWS, Pooling.GRID)}
        check(ways["hierarchical"]().vectors, vectors)
        seconds = interleaved({"hierarchical by scipy": partial(by_scipy, vectors), **ways}, rounds=ROUNDS)
        table = report.table(f"{title}, {n_rows} x {dim}", note=f"Milliseconds, medians of {ROUNDS} rounds in turn.")
        for name, measured in seconds.items():
            times_scipy = ratio(seconds["hierarchical by scipy"], measured) if "hierarchical" in name else None
            table.row(way=name, ms=1000 * median(measured), times_scipy=times_scipy)
    report.finish()


if __name__ == "__main__":
    main()
