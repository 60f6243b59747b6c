"""Sparse scores and TF-IDF."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from app.evaluation.lexical import sparse_scores, tf_idf_scores

DOCUMENTS = [
    "open and possibly create a file",
    "read from a file descriptor, a file at a time",
    "Die Größe des Puffers ändern",
    "",
]
QUERIES = ["open file", "unknown words", "Größe ändern"]


def test_sparse_scores_sum_over_the_shared_terms() -> None:
    scores = sparse_scores([{1: 0.5, 2: 2.0}, {9: 1.0}], [{1: 0.5, 2: 1.0, 3: 7.0}, {3: 1.0}])
    assert scores == pytest.approx(np.array([[2.25, 0], [0, 0]]))


def test_tf_idf_is_that_of_scikit_learn() -> None:
    vectorizer = TfidfVectorizer()
    documents = vectorizer.fit_transform(DOCUMENTS)
    expected = (vectorizer.transform(QUERIES) @ documents.T).toarray()
    assert tf_idf_scores(QUERIES, DOCUMENTS) == pytest.approx(expected, abs=1e-6)
