import tracemalloc
from itertools import accumulate
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import maxsim as module
from app.core.maxsim import maxsim, maxsim_matrix
from app.core.types import FloatArray


def unit_rows(seed: int, n: int, dim: int = 16) -> FloatArray:
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def by_definition(query: FloatArray, document: FloatArray) -> float:
    if not len(document):
        return 0.0
    return sum(max(sum(float(a) * float(b) for a, b in zip(q, d, strict=True)) for d in document) for q in query)


ragged = st.lists(st.integers(0, 12), max_size=9)
"""Counts of rows, some of them 0."""


def signed_rows(seed: int, lengths: list[int], sign: int) -> list[FloatArray]:
    """Rows of one sign: the products of two such lists are all positive or all negative."""
    return [sign * np.abs(unit_rows(seed + i, n)) for i, n in enumerate(lengths)]


@given(
    n_query_rows=ragged,
    n_document_rows=ragged,
    sign=st.sampled_from([-1, 1]),
    block_rows=st.integers(1, 40),
    block_elements=st.integers(1, 200),
    cores=st.integers(1, 3),
)
def test_any_lengths_blocks_and_threads_give_the_plain_formula(
    n_query_rows: list[int],
    n_document_rows: list[int],
    sign: int,
    block_rows: int,
    block_elements: int,
    cores: int,
) -> None:
    queries = signed_rows(0, n_query_rows, 1)
    documents = signed_rows(100, n_document_rows, sign)
    expected = [[by_definition(query, document) for document in documents] for query in queries]
    with (
        patch.object(module, "BLOCK_BYTES", block_rows * 16 * 4),
        patch.object(module, "BLOCK_ELEMENTS", block_elements),
        patch.object(module, "n_processors", return_value=cores),
    ):
        scores = maxsim_matrix(queries, documents)
    np.testing.assert_allclose(scores, np.reshape(expected, (len(queries), len(documents))), rtol=1e-5, atol=1e-6)


def test_thousands_of_uneven_documents_keep_their_places() -> None:
    """A document's only row that matches says which one it is."""
    lengths = np.random.default_rng(5).integers(1, 60, 3000)
    rows = np.zeros((lengths.sum(), 4), np.float32)
    ends = list(accumulate(lengths.tolist()))
    rows[np.array(ends) - 1, 1] = np.arange(3000)
    documents = np.split(rows, ends[:-1])
    query = np.eye(4, dtype=np.float32)[1:2]
    assert maxsim_matrix([query], documents)[0].tolist() == list(range(3000))


def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_ELEMENTS", 1)
    with pytest.raises(ValueError, match="mismatch"):
        maxsim_matrix([unit_rows(1, 2)], [unit_rows(2, 3), unit_rows(3, 3, dim=8)])


def test_a_long_document_is_not_compared_at_once() -> None:
    """All products together would take 800 MiB."""
    document = np.zeros((1 << 20, 16), np.float32)
    query = np.ones((200, 16), np.float32)
    tracemalloc.start()
    maxsim(query, document)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


def test_is_the_sum_of_each_query_rows_best_match() -> None:
    query = np.array([[1, 0], [0, 1]], dtype=np.float32)
    document = np.array([[1, 0], [0.5, 0.25], [0, -1]], dtype=np.float32)
    assert maxsim(query, document) == pytest.approx(1.25)


def test_matrix_equals_the_definition_for_ragged_inputs() -> None:
    queries = [unit_rows(i, n) for i, n in enumerate([1, 7, 3])]
    documents = [unit_rows(10 + i, n) for i, n in enumerate([5, 1, 30, 2])]
    expected = [[by_definition(query, document) for document in documents] for query in queries]
    scores = maxsim_matrix(queries, documents)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_a_negative_best_match_stays_negative_beside_longer_documents() -> None:
    """Zero padding would win over it."""
    query = np.array([[1, 0]], dtype=np.float32)
    documents = [-query, np.repeat(-query, 9, axis=0)]
    assert maxsim_matrix([query], documents).tolist() == [[-1, -1]]


def test_blocks_do_not_change_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, documents = [unit_rows(1, 9)], [unit_rows(2, 50)]
    expected = maxsim_matrix(queries, documents)
    monkeypatch.setattr(module, "BLOCK_ELEMENTS", 20)
    np.testing.assert_allclose(maxsim_matrix(queries, documents), expected, rtol=1e-6)


def test_what_has_no_rows_scores_zero() -> None:
    empty, query = np.zeros((0, 16), np.float32), unit_rows(3, 2)
    assert maxsim(query, query) == pytest.approx(2, abs=1e-6)
    assert maxsim_matrix([empty, query, empty], [query, empty])[[0, 1, 2, 2], [0, 1, 0, 1]].tolist() == [0, 0, 0, 0]
    assert maxsim_matrix([empty, query], [query])[1, 0] == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize(("n_queries", "n_documents"), [(0, 0), (0, 2), (2, 0)])
def test_no_queries_or_documents_give_an_empty_matrix(n_queries: int, n_documents: int) -> None:
    rows = [unit_rows(4, 3)] * 2
    assert maxsim_matrix(rows[:n_queries], rows[:n_documents]).shape == (n_queries, n_documents)
