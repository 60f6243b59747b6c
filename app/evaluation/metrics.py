"""Figures of merit: pure functions over arrays.

Scores are [n_queries, n_documents], the higher the better; equal scores rank in the order of the documents. `relevant`
names each query's documents by their columns.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.core.types import FloatArray, IntArray

Relevant = Sequence[Collection[int]]
BoolArray = NDArray[np.bool_]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels."""

RIDGE = 1e-2
"""Weight of the penalty of a linear probe, relative to the number of rows; features are standardized."""


def ndcg_at_k(scores: FloatArray, relevant: Relevant, k: int) -> NDArray[np.float64]:
    """Normalized discounted cumulative gain of the first `k`, for documents that are relevant or not: [n_queries].

    Järvelin & Kekäläinen 2002, with the logarithm to base 2 that trec_eval has. 0 for a query without any document.
    """
    gains = _gains(scores, relevant, k)
    discounts = _discounts(gains.shape[1])
    ideal = np.array([discounts[: len(found)].sum() for found in relevant])
    return _share(gains @ discounts, ideal)


def recall_at_k(scores: FloatArray, relevant: Relevant, k: int) -> NDArray[np.float64]:
    """Share of a query's documents among the first `k`: [n_queries]. 0 for a query without any document."""
    n_relevant = np.array([len(found) for found in relevant], dtype=np.float64)
    found = _gains(scores, relevant, k).sum(axis=1)
    return _share(found, n_relevant)


def success_at_k(scores: FloatArray, relevant: Relevant, k: int) -> NDArray[np.float64]:
    """1 for a query with any of its documents among the first `k`, else 0: [n_queries]."""
    found: NDArray[np.float64] = (_gains(scores, relevant, k).sum(axis=1) > 0).astype(np.float64)
    return found


def expected_ndcg_at_k(n_documents: int, relevant: Relevant, k: int) -> float:
    """Mean nDCG of rankings by chance."""
    discounts = _discounts(min(k, n_documents))
    ideal = (discounts[: len(found)].sum() for found in relevant)
    shares = [len(found) / n_documents / best for found, best in zip(relevant, ideal, strict=True)]
    return float(np.mean(shares) * discounts.sum())


def expected_recall_at_k(n_documents: int, k: int) -> float:
    """Mean recall of rankings by chance."""
    return min(1.0, k / n_documents)


def cells_near(boxes: Sequence[Box], width: int, height: int, n_patches_x: int, n_patches_y: int) -> BoolArray:
    """Patches that overlap one of the boxes, and their eight neighbours: [n_patches_y, n_patches_x].

    The boxes lie on an image of `width` x `height` pixels, which the grid of patches covers.
    """
    cells = np.zeros((n_patches_y, n_patches_x), dtype=np.bool_)
    for x0, y0, x1, y1 in boxes:
        columns = _overlapped(x0 * n_patches_x / width, x1 * n_patches_x / width, n_patches_x)
        rows = _overlapped(y0 * n_patches_y / height, y1 * n_patches_y / height, n_patches_y)
        cells[max(rows.start - 1, 0) : rows.stop + 1, max(columns.start - 1, 0) : columns.stop + 1] = True
    return cells


def points_at(similarity_map: FloatArray, target: BoolArray) -> bool:
    """Whether the highest cell of a map lies on the target, both [n_patches_y, n_patches_x] (Zhang et al. 2016,
    "Top-down neural attention by excitation backprop", the pointing game)."""
    return bool(target.flat[int(similarity_map.argmax())])


def knn_labels(train: FloatArray, train_labels: IntArray, test: FloatArray, k: int) -> IntArray:
    """The label that the majority of the `k` nearest training rows has, by Euclidean distance: [n_test].

    `train` [n_train, dim], `test` [n_test, dim]. Of labels that are equally frequent the smallest wins.
    """
    rows, others = np.asarray(test, dtype=np.float64), np.asarray(train, dtype=np.float64)
    distances = (others**2).sum(axis=1) - 2 * rows @ others.T
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
    n_labels = int(train_labels.max()) + 1
    votes = np.stack([np.bincount(row, minlength=n_labels) for row in train_labels[nearest]])
    labels: IntArray = votes.argmax(axis=1)
    return labels


def probed_labels(train: FloatArray, train_labels: IntArray, test: FloatArray) -> IntArray:
    """Labels by a linear probe: ridge regression from standardized features to one column a label: [n_test].

    `train` [n_train, dim], `test` [n_test, dim].
    """
    mean, spread = train.mean(axis=0), train.std(axis=0) + 1e-6
    inputs, held_out = _with_bias((train - mean) / spread), _with_bias((test - mean) / spread)
    targets = np.eye(int(train_labels.max()) + 1)[train_labels]
    penalty = RIDGE * len(inputs) * np.eye(inputs.shape[1])
    penalty[-1, -1] = 0.0  # of the bias
    weights = np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ targets)
    labels: IntArray = (held_out @ weights).argmax(axis=1)
    return labels


def accuracy(found: IntArray, labels: IntArray) -> float:
    """Share of the labels that were found."""
    return float((found == labels).mean())


def balanced_accuracy(found: IntArray, labels: IntArray) -> float:
    """Mean over the labels of the share of their rows that were found."""
    return float(np.mean([(found[labels == label] == label).mean() for label in np.unique(labels)]))


def unit_rows(rows: FloatArray) -> FloatArray:
    """Rows [n, dim] at length 1; a row of zeros stays."""
    unit: FloatArray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    return unit


def majority_accuracy(labels: IntArray) -> float:
    """Accuracy of saying the most frequent label always."""
    return float(np.bincount(labels).max() / len(labels))


def _gains(scores: FloatArray, relevant: Relevant, k: int) -> NDArray[np.float64]:
    """1 where the document at this place of the ranking is relevant: [n_queries, min(k, n_documents)]."""
    if not np.isfinite(scores).all():
        raise ValueError("Scores must be finite.")
    ranking = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    gains = [np.isin(row, list(found)) for row, found in zip(ranking, relevant, strict=True)]
    return np.array(gains, dtype=np.float64).reshape(ranking.shape)


def _share(found: NDArray[np.float64], possible: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quotients; 0 where nothing was possible."""
    shares: NDArray[np.float64] = np.divide(found, possible, out=np.zeros(len(found)), where=possible > 0)
    return shares


def _discounts(n: int) -> NDArray[np.float64]:
    return 1 / np.log2(np.arange(2, n + 2))


def _overlapped(start: float, stop: float, n: int) -> range:
    """Whole cells between two places, at least one, within 0 and `n`."""
    first = min(max(int(start), 0), n - 1)
    return range(first, min(max(int(np.ceil(stop)), first + 1), n))


def _with_bias(rows: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(rows, dtype=np.float64)
    return np.hstack([array, np.ones((len(array), 1))])
