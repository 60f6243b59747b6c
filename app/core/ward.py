"""Ward's hierarchical clustering (Ward 1963), as `scipy.cluster.hierarchy` does it, which would be 35 MB for this."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.core.types import IntArray


class Merge(NamedTuple):
    """Two clusters that became one, each named by one of its points."""

    height: float
    """Square of scipy's distance between them."""
    one: int
    other: int


def ward_labels(points: NDArray[np.floating], n_clusters: int) -> IntArray:
    """Which cluster each of `points` [n, dim] belongs to: [n], clusters numbered in the order of their first points.

    There are `n_clusters` at most, fewer where merges at the same height leave no way to have so many: scipy's
    `fcluster(linkage(points, "ward"), n_clusters, "maxclust")`.
    """
    n_points = len(points)
    labels = np.arange(n_points)
    if n_clusters < n_points:
        merges = _merges(points)
        highest = sorted(merge.height for merge in merges)[n_points - n_clusters - 1]
        for merge in merges:
            if merge.height <= highest:
                labels[labels == labels[merge.one]] = labels[merge.other]
    return _numbered(labels)


def _merges(points: NDArray[np.floating]) -> list[Merge]:
    """All merges down to one cluster, by the nearest-neighbour chain (Murtagh 1983): n^2 steps for n points.

    A chain of clusters, each the nearest of the one before, ends with two that are each other's nearest; Ward's
    distances never shrink by a merge, so these two can be merged at once and the rest of the chain stays valid.
    """
    distances = _squared_distances(points)
    sizes = np.ones(len(points))
    merges: list[Merge] = []
    chain: list[int] = []
    while len(merges) < len(points) - 1:
        if not chain:
            # Any cluster that is left will do; the last merge left its own.
            chain = [merges[-1].other if merges else 0]
        last, nearest = chain[-1], int(distances[chain[-1]].argmin())
        # Of equally near ones the one it came from, else the chain could run in circles.
        if len(chain) > 1 and distances[last, chain[-2]] <= distances[last, nearest]:
            previous = chain[-2]
            del chain[-2:]
            merges.append(Merge(float(distances[last, previous]), last, previous))
            _merge(distances, sizes, last, previous)
        else:
            chain.append(nearest)
    return merges


def _squared_distances(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Between all pairs of points: [n, n]; infinite on the diagonal."""
    wide = points.astype(np.float64)
    products = wide @ wide.T
    squares = products.diagonal().copy()
    # In place: of thousands of points each such matrix is half a gigabyte.
    distances: NDArray[np.float64] = np.multiply(products, -2, out=products)
    distances += squares[:, None]
    distances += squares
    np.maximum(distances, 0, out=distances)
    np.fill_diagonal(distances, np.inf)
    return distances


def _merge(distances: NDArray[np.float64], sizes: NDArray[np.float64], gone: int, kept: int) -> None:
    """Put the union of both clusters in the place of `kept` (formula of Lance and Williams, 1967)."""
    both = (sizes[gone] + sizes) * distances[gone] + (sizes[kept] + sizes) * distances[kept]
    both -= sizes * distances[gone, kept]
    both /= sizes[gone] + sizes[kept] + sizes
    distances[kept] = distances[:, kept] = both
    distances[gone] = distances[:, gone] = np.inf
    sizes[kept] += sizes[gone]


def _numbered(labels: IntArray) -> IntArray:
    """The same clusters, numbered from 0 in the order of their first points."""
    _, first, places = np.unique(labels, return_index=True, return_inverse=True)
    numbers: IntArray = np.argsort(np.argsort(first))[places]
    return numbers
