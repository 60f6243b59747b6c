"""MaxSim, the late-interaction score (Khattab & Zaharia 2020, "ColBERT", equation 3)."""

from collections.abc import Sequence

import numpy as np

from app.core.types import FloatArray

BLOCK_ELEMENTS = 1 << 22
"""Most dot products held at once (16 MiB of float32), however many rows are compared."""


def maxsim(query: FloatArray, document: FloatArray) -> float:
    """Sum over the query's rows of the largest dot product with any row of the document.

    `query` [n_query_rows, dim], `document` [n_document_rows, dim]; neither holds padding. 0 if either has no rows.
    """
    return float(maxsim_matrix([query], [document])[0, 0])


def maxsim_matrix(queries: Sequence[FloatArray], documents: Sequence[FloatArray]) -> FloatArray:
    """MaxSim of every query [n_rows, dim] with every document [n_rows, dim]: [n_queries, n_documents].

    Inputs keep their own lengths, so no padding is ever scored. A query or document without rows scores 0.
    """
    scores = np.zeros((len(queries), len(documents)), dtype=np.float32)
    filled = [i for i, query in enumerate(queries) if len(query)]
    if not filled:
        return scores
    rows = np.concatenate([queries[i] for i in filled])
    starts = np.cumsum([0, *(len(queries[i]) for i in filled[:-1])])
    for column, document in enumerate(documents):
        if len(document):
            best = _best_per_row(rows, document).astype(np.float64)
            scores[filled, column] = np.add.reduceat(best, starts)
    return scores


def _best_per_row(rows: FloatArray, document: FloatArray) -> FloatArray:
    """The largest dot product of each of `rows` [n, dim] with a row of `document`: [n]."""
    step = max(1, BLOCK_ELEMENTS // len(rows))
    blocks = (rows @ document[start : start + step].T for start in range(0, len(document), step))
    best = np.full(len(rows), -np.inf, dtype=np.float32)
    for block in blocks:
        np.maximum(best, block.max(axis=1), out=best)
    return best
