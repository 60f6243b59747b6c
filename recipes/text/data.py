"""The corpus as a student reads it: token ids of pairs, and the teacher's vectors of their English originals."""

import gzip
import json
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import XLMRobertaTokenizer

from recipes import CACHE
from recipes.text.corpus import Pair, pairs
from recipes.text.teacher import Vectors, teacher_vectors
from recipes.text.vocabulary import tokenizer

MAX_TOKENS = 512
N_VALIDATION = 400
"""English pages that are not trained on, for choices; the test set is for the figures alone."""

KIND_SHARES = {
    "page": 0.40,
    "translated page": 0.12,
    "gloss": 0.14,
    "term": 0.06,
    "message": 0.18,
    "word": 0.10,
}
"""How often a batch is of a kind. Batches do not mix kinds: texts of one kind are the harder to tell apart."""

SYMMETRIC = ("message", "word")
"""Kinds whose two texts may change places, so that documents are read in other languages as well."""
MAX_PAIRS = 512
LONGEST = 2.5
"""Texts are cut at so many times the mean length of their kind."""
NO_SOURCE = -1


@dataclass(frozen=True, slots=True)
class Batch:
    """`n` pairs; row i of the queries belongs to row i of the documents."""

    queries: list[list[int]]
    """Token ids without special tokens."""
    documents: list[list[int]]
    query_targets: Tensor
    """[n, 384] float32: what the teacher says of the English original; zeros where there is none."""
    document_targets: Tensor
    same: Tensor
    """[n, n] bool: whether document j is no wrong answer to query i, since it has the same original. Not on the
    diagonal."""

    def swapped(self) -> "Batch":
        """Documents as queries."""
        return Batch(self.documents, self.queries, self.document_targets, self.query_targets, self.same.T)


class Data:
    """Everything that the text recipes train on, in memory."""

    def __init__(self) -> None:
        found = _pairs()
        self.tokenizer = corpus_tokenizer(found)
        texts = sorted({text for pair in found for text in (pair.query_source, pair.document_source) if text})
        self.teacher: Vectors = teacher_vectors(texts)
        numbers = {text: number for number, text in enumerate(texts)} | {"": NO_SOURCE}
        self._queries = _Ragged("queries", [pair.query for pair in found], self.tokenizer)
        self._documents = _Ragged("documents", [pair.document for pair in found], self.tokenizer)
        self._query_sources = np.array([numbers[pair.query_source] for pair in found])
        self._document_sources = np.array([numbers[pair.document_source] for pair in found])
        kinds = np.array([pair.kind for pair in found])
        self._of_kind = {kind: np.flatnonzero(kinds == kind) for kind in KIND_SHARES}
        pages = np.random.default_rng(1).permutation(self._of_kind["page"])
        self._validation, self._of_kind["page"] = pages[:N_VALIDATION], pages[N_VALIDATION:]

    def batch(
        self, step: int, n_tokens: int, max_tokens: Sequence[int], kinds: Collection[str] = tuple(KIND_SHARES)
    ) -> Batch:
        """The pairs of a step, of one of the `kinds` and with about `n_tokens` tokens, at most 512 pairs.

        The documents are cut at one of the lengths `max_tokens`, drawn for the step.
        """
        random = np.random.default_rng(step)
        shares = np.array([KIND_SHARES[kind] for kind in kinds])
        kind = random.choice(list(kinds), p=shares / shares.sum())
        members = self._of_kind[kind]
        per_query, per_document = self._queries.lengths[members].mean(), self._documents.lengths[members].mean()
        # One long text among short ones would make a batch of padding.
        cut = min(int(random.choice(max_tokens)), int(LONGEST * per_document))
        n_pairs = int(n_tokens / (per_query + min(cut, per_document)))
        chosen = random.choice(members, min(MAX_PAIRS, n_pairs), replace=False)
        batch = self._batch(chosen, cut, int(LONGEST * per_query))
        return batch.swapped() if kind in SYMMETRIC and random.random() < 0.5 else batch

    def validation(self) -> Batch:
        """English pages that no step has."""
        return self._batch(self._validation, MAX_TOKENS - 8)

    def frequencies(self) -> NDArray[np.float64]:
        """[vocabulary] share of each token among those of the man pages' documents and of all queries."""
        pages = [self._documents[index] for index in self._of_kind["page"]]
        counts = np.bincount(np.concatenate([*pages, self._queries.flat]), minlength=len(self.tokenizer))
        shares: NDArray[np.float64] = counts / counts.sum()
        return shares

    def rarity(self) -> Tensor:
        """[vocabulary] 0 for the most frequent token, 1 for tokens that never occur; between them by the logarithm."""
        frequencies = np.maximum(self.frequencies(), 1e-7)
        return torch.from_numpy(1 - np.log(frequencies / 1e-7) / np.log(frequencies.max() / 1e-7)).float()

    def ids(self, text: str) -> list[int]:
        """Token ids without special tokens."""
        found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def _batch(self, chosen: NDArray[np.int64], max_tokens: int, max_query_tokens: int = MAX_TOKENS) -> Batch:
        sources, asked = self._document_sources[chosen], self._query_sources[chosen]
        same = (sources[:, None] == sources) | (asked[:, None] == asked)
        same &= (sources != NO_SOURCE)[:, None]
        np.fill_diagonal(same, val=False)
        return Batch(
            queries=[self._queries[index][:max_query_tokens].tolist() for index in chosen],
            documents=[self._documents[index][:max_tokens].tolist() for index in chosen],
            query_targets=self._targets(asked),
            document_targets=self._targets(sources),
            same=torch.from_numpy(same),
        )

    def _targets(self, sources: NDArray[np.int64]) -> Tensor:
        vectors = self.teacher[sources].astype(np.float32)
        vectors[sources == NO_SOURCE] = 0
        return torch.from_numpy(vectors)


class _Ragged:
    """Token ids of texts of unequal length, without special tokens; kept on disk."""

    def __init__(self, name: str, texts: Sequence[str], tokenizer: XLMRobertaTokenizer) -> None:
        path = CACHE / "text" / f"{name}.npz"
        if not path.exists():
            rows = tokenizer.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
            ends = np.cumsum([len(row.ids) for row in rows])
            np.savez(path, flat=np.concatenate([np.array(row.ids, np.int64) for row in rows]), ends=ends)
        stored = np.load(path)
        self.flat: NDArray[np.int64] = stored["flat"]
        self._bounds = np.concatenate([[0], stored["ends"]])
        self.lengths = np.diff(self._bounds)

    def __getitem__(self, index: int | np.int64) -> NDArray[np.int64]:
        return self.flat[self._bounds[index] : self._bounds[index + 1]]


def corpus_tokenizer(found: Sequence[Pair], max_tokens: int = MAX_TOKENS) -> XLMRobertaTokenizer:
    """The tokenizer of the corpus."""
    return tokenizer(sorted({text for pair in found for text in (pair.query, pair.document)}), max_tokens)


def _pairs() -> list[Pair]:
    path = CACHE / "text" / "pairs.json.gz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        print("corpus: reading packages", flush=True)
        path.write_bytes(gzip.compress(json.dumps([astuple(pair) for pair in pairs()]).encode(), compresslevel=1))
    return [Pair(*fields) for fields in json.loads(gzip.decompress(path.read_bytes()))]
