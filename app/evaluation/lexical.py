"""Sparse scores, and TF-IDF as the anchor that needs no model."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.core.types import FloatArray

Weights = Mapping[Any, float]
"""Weight of each term of one text."""

WORD = re.compile(r"\b\w\w+\b")


def sparse_scores(queries: Sequence[Weights], documents: Sequence[Weights]) -> FloatArray:
    """Sum over the shared terms of the product of their weights: [n_queries, n_documents].

    BGE-M3's lexical score (arXiv:2402.03216, section 3.2).
    """
    postings: dict[Any, tuple[list[int], list[float]]] = {}
    for column, document in enumerate(documents):
        for term, weight in document.items():
            columns, weights = postings.setdefault(term, ([], []))
            columns.append(column)
            weights.append(weight)
    scores = np.zeros((len(queries), len(documents)), dtype=np.float32)
    for row, query in enumerate(queries):
        for term, weight in query.items():
            if term in postings:
                columns, weights = postings[term]
                scores[row, columns] += weight * np.array(weights, dtype=np.float32)
    return scores


def tf_idf_scores(queries: Sequence[str], documents: Sequence[str]) -> FloatArray:
    """Cosines of TF-IDF vectors, weighted as scikit-learn's `TfidfVectorizer` does: [n_queries, n_documents].

    Words of two letters or more in lower case; idf = ln((1 + n) / (1 + n_with_word)) + 1 over the documents.
    """
    counted = [Counter(WORD.findall(document.lower())) for document in documents]
    frequency = Counter(word for words in counted for word in words)
    idf = {word: math.log((1 + len(documents)) / (1 + n)) + 1 for word, n in frequency.items()}
    asked = [Counter(WORD.findall(query.lower())) for query in queries]
    return sparse_scores([_weighted(words, idf) for words in asked], [_weighted(words, idf) for words in counted])


def _weighted(words: Mapping[str, int], idf: Mapping[str, float]) -> dict[str, float]:
    """Of unit length; words that no document has are left out."""
    weights = {word: n * idf[word] for word, n in words.items() if word in idf}
    length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
    return {word: weight / length for word, weight in weights.items()}
