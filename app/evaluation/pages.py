"""Finding pages by late interaction, and the pointing game: does a word's similarity map light up where it stands?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.core.maxsim import maxsim_matrix
from app.core.types import FloatArray
from app.evaluation.batches import batches
from app.evaluation.client import Interpretation, ServedModel, ServerClient
from app.evaluation.metrics import (
    cells_near,
    expected_ndcg_at_k,
    expected_recall_at_k,
    ndcg_at_k,
    points_at,
    recall_at_k,
    success_at_k,
)
from app.evaluation.report import Row
from app.evaluation.sets import PageQuery, PageSet, QueryWord
from app.evaluation.spelling import tokens_of_word

DEPTH = 5
UNSEEN = "unseen"
"""Kind of the queries whose words no training page has; it has a row of its own and stays out of `all`."""
BATCH_PAGES = 4
BATCH_QUERIES = 32
N_WORDS = 150
"""Words of the pointing game, and a third as many unseen ones: each costs a page."""


@dataclass(frozen=True, slots=True)
class Pointing:
    """One word of the pointing game."""

    kind: str
    """Of the word's query."""
    hit: bool
    chance: float
    """Share of the patches that would have been a hit."""


@dataclass(frozen=True, slots=True)
class PageEvaluation:
    """Rendered pages: a few words, a short question, or what shapes are on the page."""

    data: PageSet
    n_words: int = N_WORDS

    name = "pages"
    title = "Pages"

    @property
    def note(self) -> str:
        return (
            f"{len(self.data.queries):,} queries over {len(self.data.pages):,} pages. `all` leaves out `{UNSEEN}`, "
            "queries of words that no training page has. First right: how often the first page is relevant. Recall@1: "
            "the share of the relevant pages that the first one is, so a query with several cannot reach 1. Pointing: "
            "how often the highest patch of a word's map lies on the word or beside it, and how often a random patch "
            "would."
        )

    @staticmethod
    def suits(model: ServedModel) -> bool:
        return {"image:multi_vector", "text:multi_vector"} <= model.capabilities

    def evaluate(self, client: ServerClient, model: ServedModel) -> list[Row]:
        """A row for each kind of query, and one for all."""
        scores = self._scores(client, model.name)
        relevant = self._relevant()
        firsts, recalls = success_at_k(scores, relevant, 1), recall_at_k(scores, relevant, 1)
        gains = ndcg_at_k(scores, relevant, DEPTH)
        words = list(self._pointings(client, model.name))
        return [
            {
                "model": model.name,
                "queries": group,
                "first right": float(firsts[rows].mean()),
                "recall@1": float(recalls[rows].mean()),
                f"nDCG@{DEPTH}": float(gains[rows].mean()),
                **_pointing_cells([word for word in words if word.kind in kinds]),
            }
            for group, kinds, rows in self._groups()
        ]

    def anchors(self) -> list[Row]:
        """Rankings by chance."""
        relevant, n_pages = self._relevant(), len(self.data.pages)
        return [
            {
                "model": "chance",
                "queries": group,
                "first right": float(np.mean([len(relevant[row]) for row in rows])) / n_pages,
                "recall@1": expected_recall_at_k(n_pages, 1),
                f"nDCG@{DEPTH}": expected_ndcg_at_k(n_pages, [relevant[row] for row in rows], DEPTH),
            }
            for group, _, rows in self._groups()
        ]

    def _scores(self, client: ServerClient, model: str) -> FloatArray:
        """MaxSim [n_queries, n_pages], as colpali-engine's `score_multi_vector`."""
        texts = [query.text for query in self.data.queries]
        queries = [
            rows
            for batch in batches(texts, BATCH_QUERIES, f"{model}: queries")
            for rows in client.query_vectors(model, batch)
        ]
        pages = [
            rows
            for batch in batches(self.data.pages, BATCH_PAGES, f"{model}: pages")
            for rows in client.page_vectors(model, batch)
        ]
        return maxsim_matrix(queries, pages)

    def _pointings(self, client: ServerClient, model: str) -> Iterator[Pointing]:
        asked = [*self._sample(self.n_words, seen=True), *self._sample(self.n_words // 3, seen=False)]
        for batch in batches(asked, 1, f"{model}: pointing"):
            for query, page, words in batch:
                answer = client.interpret(model, self.data.pages[page], query.text)
                yield from (_pointing(answer, query, word) for word in words)

    def _sample(self, n_words: int, *, seen: bool) -> list[tuple[PageQuery, int, list[QueryWord]]]:
        """Queries with their words on one page, spread evenly over the set, until there are `n_words`."""
        pairs = [
            (query, page, [word for word in query.words if word.page == page])
            for query in self.data.queries
            if (query.kind != UNSEEN) == seen
            for page in sorted({word.page for word in query.words})
        ]
        n_all = sum(len(words) for _, _, words in pairs)
        n_pairs = min(len(pairs), round(len(pairs) * n_words / max(n_all, 1)))
        return [pairs[int(place)] for place in np.linspace(0, len(pairs), n_pairs, endpoint=False)]

    def _groups(self) -> list[tuple[str, Sequence[str], list[int]]]:
        """Name, kinds and rows of each group of queries, `all` first."""
        kinds = list(dict.fromkeys(query.kind for query in self.data.queries))
        seen = [kind for kind in kinds if kind != UNSEEN]
        groups: Mapping[str, Sequence[str]] = {"all": seen, **{kind: [kind] for kind in kinds}}
        members = (
            (group, chosen, [row for row, query in enumerate(self.data.queries) if query.kind in chosen])
            for group, chosen in groups.items()
        )
        return [group for group in members if group[2]]

    def _relevant(self) -> list[frozenset[int]]:
        return [query.relevant for query in self.data.queries]


def _pointing(answer: Interpretation, query: PageQuery, word: QueryWord) -> Pointing:
    """Judge the mean map of the tokens that spell the word; a word whose tokens are not found is a miss."""
    n_patches_y, n_patches_x = answer.maps.shape[1:]
    target = cells_near(word.boxes, answer.width, answer.height, n_patches_x, n_patches_y)
    tokens = tokens_of_word(answer.tokens, query.text, word.text)
    hit = bool(tokens) and points_at(answer.maps[tokens].mean(axis=0), target)
    return Pointing(query.kind, hit, float(target.mean()))


def _pointing_cells(words: Sequence[Pointing]) -> dict[str, float]:
    if not words:
        return {}
    return {
        "pointing": float(np.mean([word.hit for word in words])),
        "by chance": float(np.mean([word.chance for word in words])),
    }
