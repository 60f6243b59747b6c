"""MaxSim of one query against many pages: ours, colpali-engine's `score_multi_vector`, and what the machine allows.

.venv-oracle/bin/python -m benchmarks.maxsim [--ways]

It runs in the environment of the reference libraries, where colpali-engine can be imported. The pages have uneven
lengths and lie in memory in float32 before the clock starts. Two floors are measured in the same rounds: the time in
which this machine reads the pages' bytes, and the time in which it computes as many multiplications where it is
fastest, in products of large square matrices. `--ways` adds the ways that we did not take.
"""

import app  # noqa: F401, I001 - before numpy: it decides how many threads numpy's BLAS has

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module

import numpy as np
import torch

from app.core.maxsim import maxsim_matrix
from app.core.types import FloatArray
from app.settings import REPO
from benchmarks import maxsim_ways
from benchmarks.memory import peak_growth
from benchmarks.report import Report, Table, interleaved, median

N_PAGES = (100, 1000, 10_000)
N_QUERY_ROWS, DIM = 20, 128
SHORTEST, LONGEST = 300, 790
"""Rows of a page."""
PEER, PEER_BATCH = "colpali-engine", 128
"""Pages that the peer pads to one length, by default."""
MOST_READ_BYTES = 1 << 30
SQUARE = 1536
"""Side of the matrices whose product shows how fast the machine multiplies."""
NOTE = (
    "Medians. Over read, over compute: in times of the floors. Memory: the most that the process grew beyond what it "
    "had kept from earlier rounds."
)


def main() -> None:
    parser = argparse.ArgumentParser(description="MaxSim of one query against many pages.")
    parser.add_argument("--ways", action="store_true", help="also measure the ways that we did not take")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    report = Report("maxsim_ways" if options.ways else "maxsim", "MaxSim of a query of 20 x 128 against pages")
    random = np.random.default_rng(0)
    query = unit_rows(random, N_QUERY_ROWS)
    pages = [unit_rows(random, int(n)) for n in random.integers(SHORTEST, LONGEST + 1, max(N_PAGES))]
    score_multi_vector = peer()
    for n in N_PAGES:
        some = pages[:n]
        ways = {"ours": partial(ours, query, some), PEER: partial(theirs, score_multi_vector, query, some)}
        if options.ways:
            ways |= {name: partial(way, query, some) for name, way in maxsim_ways.WAYS.items()}
        table = report.table(f"{n:,} pages of {SHORTEST} to {LONGEST} rows, {n_bytes(some) / 1e6:,.0f} MB", NOTE)
        compare(table, ways, some, options.rounds)
    report.finish()


def compare(
    table: Table, ways: Mapping[str, Callable[[], FloatArray]], pages: Sequence[FloatArray], rounds: int
) -> None:
    """Fill the table with each way's time, its distance to the floors and its memory. Fails unless all agree."""
    expected = ways["ours"]()
    for name, way in ways.items():
        np.testing.assert_allclose(way(), expected, atol=1e-4, err_msg=name)
    floors = Floors(pages)
    measured = interleaved({**ways, "read": floors.read, "compute": floors.compute}, rounds=rounds)
    seconds = {name: median(values) for name, values in measured.items()}
    read, compute = seconds["read"] * floors.reads, seconds["compute"] * floors.products
    for name, way in ways.items():
        table.row(
            way=name,
            ms=1000 * seconds[name],
            over_ours=seconds[name] / seconds["ours"],
            over_read=seconds[name] / read,
            over_compute=seconds[name] / compute,
            rows_scored_per_row=rows_scored(name, pages),
            memory_mb=peak_growth(way) / 1e6,
        )
    table.row(way="floor: read the pages", ms=1000 * read, over_ours=read / seconds["ours"], over_read=1.0)
    table.row(way="floor: multiply", ms=1000 * compute, over_ours=compute / seconds["ours"], over_compute=1.0)


class Floors:
    """What the machine needs at least: to read the bytes once, and to multiply as often, on all cores."""

    def __init__(self, pages: Sequence[FloatArray]) -> None:
        self._buffer = torch.ones(min(n_bytes(pages), MOST_READ_BYTES) // 4)
        self.reads = n_bytes(pages) / self._buffer.nbytes
        """Times that the buffer must be read for all pages."""
        self._squares = [np.ones((SQUARE, SQUARE), np.float32)] * (os.cpu_count() or 1)
        self.products = n_bytes(pages) / 4 * N_QUERY_ROWS / SQUARE**3 / len(self._squares)
        """Times that every core must multiply two squares."""

    def read(self) -> None:
        self._buffer.sum()

    def compute(self) -> None:
        with ThreadPoolExecutor(len(self._squares)) as threads:
            list(threads.map(lambda square: square @ square, self._squares))


def ours(query: FloatArray, pages: Sequence[FloatArray]) -> FloatArray:
    """Scores [n_pages]."""
    scores: FloatArray = maxsim_matrix([query], pages)[0]
    return scores


def theirs(
    score_multi_vector: Callable[..., torch.Tensor], query: FloatArray, pages: Sequence[FloatArray]
) -> FloatArray:
    """Scores [n_pages]."""
    passages = [torch.from_numpy(page) for page in pages]
    scores: FloatArray = score_multi_vector([torch.from_numpy(query)], passages, device="cpu")[0].numpy()
    return scores


def peer() -> Callable[..., torch.Tensor]:
    """colpali-engine's function, which needs torchvision: tests/parity/oracle says how it is imported."""
    sys.path.insert(0, str(REPO / "tests/parity/oracle"))
    import_module("missing_operators")
    processing = import_module("colpali_engine.utils.processing_utils")
    function: Callable[..., torch.Tensor] = processing.BaseVisualRetrieverProcessor.score_multi_vector
    return function


def rows_scored(way: str, pages: Sequence[FloatArray]) -> float:
    """Rows that are compared over rows that there are: above one if pages are padded."""
    lengths = [len(page) for page in pages]
    if way != PEER:
        return 1.0
    batches = [lengths[start : start + PEER_BATCH] for start in range(0, len(lengths), PEER_BATCH)]
    return sum(max(batch) * len(batch) for batch in batches) / sum(lengths)


def n_bytes(pages: Sequence[FloatArray]) -> int:
    return sum(page.nbytes for page in pages)


def unit_rows(random: np.random.Generator, n: int) -> FloatArray:
    """Random vectors of length one: [n, DIM]."""
    rows = random.standard_normal((n, DIM), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


if __name__ == "__main__":
    main()
