"""Finding texts: nDCG@10 for each language of the search texts and each kind of vector."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from app.core.maxsim import maxsim_matrix
from app.core.types import FloatArray
from app.evaluation.batches import batches, portions
from app.evaluation.client import HybridVector, ServedModel, ServerClient
from app.evaluation.lexical import sparse_scores, tf_idf_scores
from app.evaluation.metrics import expected_ndcg_at_k, ndcg_at_k
from app.evaluation.report import Row
from app.evaluation.sets import TextSet

DEPTH = 10
BATCH = 32
"""Texts in one request."""
COLBERT_QUERIES = 128
"""Queries that are compared with a batch of documents at once: faster by a third than all."""


@dataclass(frozen=True, slots=True)
class HybridWeights:
    """How much each score counts in the sum of the three; BGE-M3's paper has these (arXiv:2402.03216, table 1)."""

    dense: float = 1.0
    sparse: float = 0.3
    colbert: float = 1.0


@dataclass(frozen=True, slots=True)
class TextEvaluation:
    """Man pages: what a page's NAME line says of it finds the beginning of its DESCRIPTION."""

    data: TextSet
    weights: HybridWeights = HybridWeights()

    name = "texts"
    title = "Texts"

    @property
    def note(self) -> str:
        weights = self.weights
        return (
            f"nDCG@{DEPTH} of {len(self.data.queries):,} search texts over {len(self.data.documents):,} English man "
            "pages, by language of the search text. `all`: the weighted sum of the three scores "
            f"({weights.dense:g} dense + {weights.sparse:g} sparse + {weights.colbert:g} ColBERT)."
        )

    @staticmethod
    def suits(model: ServedModel) -> bool:
        return "text:dense" in model.capabilities

    def evaluate(self, client: ServerClient, model: ServedModel) -> list[Row]:
        """A row for each kind of vector that the model writes."""
        if {"text:sparse", "text:multi_vector"} <= model.capabilities:
            scores = self._hybrid_scores(client, model.name)
        else:
            scores = {"dense": self._dense_scores(client, model.name)}
        return [self._row(model.name, kind, matrix) for kind, matrix in scores.items()]

    def anchors(self) -> list[Row]:
        """TF-IDF, and rankings by chance."""
        tf_idf = tf_idf_scores([query.text for query in self.data.queries], self.data.documents)
        relevant = self._relevant()
        chance = {
            language: expected_ndcg_at_k(len(self.data.documents), [relevant[row] for row in rows], DEPTH)
            for language, rows in self._rows_by_language().items()
        }
        return [self._row("TF-IDF", "words", tf_idf), {"model": "chance", "vectors": "", **chance}]

    def _dense_scores(self, client: ServerClient, model: str) -> FloatArray:
        queries = np.concatenate(
            [client.vectors(model, texts, is_query=True) for texts in self._queries(f"{model}: queries")]
        )
        documents = np.concatenate(
            [client.vectors(model, texts, is_query=False) for texts in self._documents(f"{model}: documents")]
        )
        scores: FloatArray = queries @ documents.T
        return scores

    def _hybrid_scores(self, client: ServerClient, model: str) -> dict[str, FloatArray]:
        """Documents are scored batch by batch: ColBERT vectors of all of them would take gigabytes."""
        queries = [
            vector for texts in self._queries(f"{model}: queries") for vector in client.hybrid_vectors(model, texts)
        ]
        parts = [
            hybrid_scores(queries, client.hybrid_vectors(model, texts))
            for texts in self._documents(f"{model}: documents")
        ]
        scores = {kind: np.concatenate([part[kind] for part in parts], axis=1) for kind in parts[0]}
        weights = self.weights
        total = (
            weights.dense * scores["dense"] + weights.sparse * scores["sparse"] + weights.colbert * scores["ColBERT"]
        )
        return scores | {"all": total}

    def _queries(self, label: str) -> Iterator[list[str]]:
        return batches([query.text for query in self.data.queries], BATCH, label)

    def _documents(self, label: str) -> Iterator[list[str]]:
        return batches(self.data.documents, BATCH, label)

    def _row(self, model: str, kind: str, scores: FloatArray) -> Row:
        gains = ndcg_at_k(scores, self._relevant(), DEPTH)
        by_language = {language: float(gains[rows].mean()) for language, rows in self._rows_by_language().items()}
        return {"model": model, "vectors": kind, **by_language}

    def _relevant(self) -> list[frozenset[int]]:
        return [query.relevant for query in self.data.queries]

    def _rows_by_language(self) -> Mapping[str, list[int]]:
        return {
            language: [row for row, query in enumerate(self.data.queries) if query.language == language]
            for language in self.data.languages
        }


def hybrid_scores(queries: list[HybridVector], documents: list[HybridVector]) -> dict[str, FloatArray]:
    """Dense, sparse and ColBERT scores, each [n_queries, n_documents]; ColBERT's is a mean over query tokens."""
    n_rows = np.array([[max(len(query.colbert), 1)] for query in queries], dtype=np.float32)
    sums = [
        maxsim_matrix([query.colbert for query in portion], [document.colbert for document in documents])
        for portion in portions(queries, COLBERT_QUERIES)
    ]
    return {
        "dense": np.stack([query.dense for query in queries]) @ np.stack([document.dense for document in documents]).T,
        "sparse": sparse_scores([query.sparse for query in queries], [document.sparse for document in documents]),
        "ColBERT": np.concatenate(sums) / n_rows,
    }
