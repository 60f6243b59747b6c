import numpy as np
import pytest

from app.core import maxsim as module
from app.core.maxsim import maxsim, maxsim_matrix
from app.core.types import FloatArray


def unit_rows(seed: int, n: int, dim: int = 16) -> FloatArray:
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def by_definition(query: FloatArray, document: FloatArray) -> float:
    return sum(max(sum(float(a) * float(b) for a, b in zip(q, d, strict=True)) for d in document) for q in query)


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
