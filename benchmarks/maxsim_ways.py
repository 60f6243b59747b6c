"""The ways to compute MaxSim that we did not take; docs/decisions/0004-maxsim.md has their figures.

Each gives the scores [n_pages] of a query [n_rows, dim] with pages [n_rows, dim].
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from app.core.types import FloatArray

N_CORES = os.cpu_count() or 1
PAGES_A_BLOCK = 16

Way = Callable[[FloatArray, Sequence[FloatArray]], FloatArray]


def page_by_page(query: FloatArray, pages: Sequence[FloatArray]) -> FloatArray:
    return np.array([(query @ page.T).max(axis=1).sum() for page in pages])


def page_by_page_skinny(query: FloatArray, pages: Sequence[FloatArray]) -> FloatArray:
    return np.array([(page @ query.T).max(axis=0).sum() for page in pages])


def page_by_page_one_maximum(query: FloatArray, pages: Sequence[FloatArray]) -> FloatArray:
    """Products of some pages side by side, without a copy of the pages, and one pass for their maxima."""
    scores = []
    for block, starts in blocks(pages):
        ends = [*starts[1:], starts[-1] + len(block[-1])]
        products = np.empty((len(query), ends[-1]), np.float32)
        for page, start, end in zip(block, starts, ends, strict=True):
            np.matmul(query, page.T, out=products[:, start:end])
        scores.append(np.maximum.reduceat(products, starts, axis=1).sum(axis=0))
    return np.concatenate(scores)


def copied_blocks(query: FloatArray, pages: Sequence[FloatArray]) -> FloatArray:
    scores = [
        np.maximum.reduceat(query @ np.concatenate(block).T, starts, axis=1).sum(axis=0)
        for block, starts in blocks(pages)
    ]
    return np.concatenate(scores)


def copied_blocks_skinny(query: FloatArray, pages: Sequence[FloatArray]) -> FloatArray:
    scores = [
        np.maximum.reduceat(np.concatenate(block) @ query.T, starts, axis=0).sum(axis=1)
        for block, starts in blocks(pages)
    ]
    return np.concatenate(scores)


def torch_page_by_page(query: FloatArray, pages: Sequence[FloatArray]) -> FloatArray:
    rows = torch.from_numpy(query)
    scores: FloatArray = torch.stack([(rows @ torch.from_numpy(page).T).amax(1).sum() for page in pages]).numpy()
    return scores


def torch_copied_blocks(query: FloatArray, pages: Sequence[FloatArray]) -> FloatArray:
    rows = torch.from_numpy(query)
    scores = []
    for block, starts in blocks(pages):
        products = (rows @ torch.cat([torch.from_numpy(page) for page in block]).T).numpy()
        scores.append(np.maximum.reduceat(products, starts, axis=1).sum(axis=0))
    return np.concatenate(scores)


def onednn_copied_blocks(query: FloatArray, pages: Sequence[FloatArray]) -> FloatArray:
    """oneDNN's product with the query laid out for it beforehand; only torch's private operators offer it."""
    rows = torch.ops.mkldnn._reorder_linear_weight(torch.from_numpy(query), LONGEST_BLOCK)
    scores = []
    for block, starts in blocks(pages):
        copy = torch.cat([torch.from_numpy(page) for page in block])
        products = torch.ops.mkldnn._linear_pointwise(copy, rows, None, "none", [], "").numpy()
        scores.append(np.maximum.reduceat(products, starts, axis=0).sum(axis=1))
    return np.concatenate(scores)


LONGEST_BLOCK = 8192
"""Rows that oneDNN's layout is made for."""


def blocks(pages: Sequence[FloatArray]) -> Iterator[tuple[Sequence[FloatArray], list[int]]]:
    """Some pages at a time, with the first row of each when they stand one below the other."""
    for first in range(0, len(pages), PAGES_A_BLOCK):
        block = pages[first : first + PAGES_A_BLOCK]
        lengths = [len(page) for page in block]
        yield block, [sum(lengths[:i]) for i in range(len(lengths))]


def blas_threads(way: Way) -> Way:
    """The way in one thread of Python, while numpy's BLAS uses all cores."""

    def run(query: FloatArray, pages: Sequence[FloatArray]) -> FloatArray:
        with threadpool_limits(N_CORES, user_api="blas"):
            return way(query, pages)

    return run


def python_threads(way: Way) -> Way:
    """The way in a thread of Python for every core, while numpy's BLAS has one thread."""

    def run(query: FloatArray, pages: Sequence[FloatArray]) -> FloatArray:
        share = -(-len(pages) // N_CORES)
        parts = [pages[first : first + share] for first in range(0, len(pages), share)]
        with ThreadPoolExecutor(N_CORES) as threads:
            return np.concatenate(list(threads.map(lambda part: way(query, part), parts)))

    return run


WAYS: dict[str, Way] = {
    "page by page (before)": blas_threads(page_by_page),
    "page by page, page @ query.T": blas_threads(page_by_page_skinny),
    "page by page, Python threads": python_threads(page_by_page),
    "page by page, one maximum": blas_threads(page_by_page_one_maximum),
    "page by page, one maximum, Python threads": python_threads(page_by_page_one_maximum),
    "copied blocks, BLAS threads": blas_threads(copied_blocks),
    "copied blocks, page @ query.T, Python threads": python_threads(copied_blocks_skinny),
    "torch, page by page": torch_page_by_page,
    "torch, copied blocks": torch_copied_blocks,
    "oneDNN, copied blocks": onednn_copied_blocks,
}
