"""MaxSim, the late-interaction score (Khattab & Zaharia 2020, "ColBERT", equation 3).

docs/decisions/0004-maxsim.md has the ways that were measured.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from itertools import accumulate

import numpy as np

from app.core.processors import n_processors
from app.core.types import FloatArray

BLOCK_BYTES = 4 << 20
"""Rows of documents that a thread copies together and compares at once: they stay in its cache meanwhile."""
BLOCK_ELEMENTS = 1 << 22
"""Most dot products that a thread holds at once (16 MiB of float32), however many rows are compared."""


def maxsim(query: FloatArray, document: FloatArray) -> float:
    """Sum over the query's rows of the largest dot product with any row of the document.

    `query` [n_query_rows, dim], `document` [n_document_rows, dim]; neither holds padding. 0 if either has no rows.
    """
    return float(maxsim_matrix([query], [document])[0, 0])


def maxsim_matrix(queries: Sequence[FloatArray], documents: Sequence[FloatArray]) -> FloatArray:
    """MaxSim of every query [n_rows, dim] with every document [n_rows, dim]: [n_queries, n_documents].

    Inputs keep their own lengths, so no padding is ever scored. A query or document without rows scores 0. Every
    document is read once; beside the inputs it takes 20 MiB a thread and the scores at most.
    """
    scores = np.zeros((len(queries), len(documents)), dtype=np.float32)
    filled = [i for i, query in enumerate(queries) if len(query)]
    if not filled:
        return scores
    rows = np.concatenate([queries[i] for i in filled])
    starts = _starts([queries[i] for i in filled])
    n_rows = max(1, min(BLOCK_BYTES // rows[0].nbytes, BLOCK_ELEMENTS // len(rows)))

    def score(block: Sequence[int]) -> None:
        best = _best_per_row(rows, [documents[i] for i in block], n_rows)
        scores[np.ix_(filled, block)] = np.add.reduceat(best, starts, axis=0, dtype=np.float64)

    _run_in_threads(score, list(_blocks(documents, n_rows)))
    return scores


def _blocks(documents: Sequence[FloatArray], n_rows: int) -> Iterator[list[int]]:
    """Indices of the documents that have rows, in runs of `n_rows` rows at most; a longer document is alone."""
    block: list[int] = []
    room = n_rows
    for index, document in enumerate(documents):
        if not len(document):
            continue
        if block and len(document) > room:
            yield block
            block, room = [], n_rows
        block.append(index)
        room -= len(document)
    if block:
        yield block


def _best_per_row(rows: FloatArray, documents: Sequence[FloatArray], n_rows: int) -> FloatArray:
    """The largest dot product of each of `rows` [n, dim] with a row of each document: [n, n_documents]."""
    if len(documents) == 1:
        parts = (documents[0][start : start + n_rows] for start in range(0, len(documents[0]), n_rows))
        best: FloatArray = reduce(np.maximum, ((rows @ part.T).max(axis=1, keepdims=True) for part in parts))
        return best
    # The copy costs less than a product for each document: BLAS gets pages out of memory slowly, a copy fast.
    products: FloatArray = rows @ np.concatenate(documents).T
    return np.maximum.reduceat(products, _starts(documents), axis=1)


def _starts(arrays: Sequence[FloatArray]) -> list[int]:
    """The first row of each array when they stand one below the other."""
    return [0, *accumulate(len(array) for array in arrays[:-1])]


def _run_in_threads(score: Callable[[Sequence[int]], None], blocks: Sequence[Sequence[int]]) -> None:
    """Score the blocks, several at once; numpy lets other threads run meanwhile."""
    n_threads = min(len(blocks), n_processors())
    if n_threads < 2:
        for block in blocks:
            score(block)
        return
    with ThreadPoolExecutor(n_threads, thread_name_prefix="maxsim") as threads:
        # The list raises what a thread raised.
        list(threads.map(score, blocks))
