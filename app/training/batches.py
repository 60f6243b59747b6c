"""Batches of text pairs in which nobody's answer counts as wrong."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from sentence_transformers.base.sampler import DefaultBatchSampler

from app.training.pairs_split import TextPair


class AnswerIndex:
    """Which passages answer which queries, by all pairs."""

    def __init__(self, pairs: Sequence[TextPair]) -> None:
        self.answers: dict[str, set[str]] = {}
        """Of each query."""
        self.questions: dict[str, set[str]] = {}
        """Of each passage: the queries that it answers."""
        for pair in pairs:
            self.answers.setdefault(pair.query, set()).add(pair.positive)
            self.questions.setdefault(pair.positive, set()).add(pair.query)


@dataclass(slots=True)
class Batch:
    """Pairs that may stand together."""

    index: AnswerIndex
    places: list[int] = field(default_factory=list)
    queries: set[str] = field(default_factory=set)
    passages: set[str] = field(default_factory=set)
    """Hard negatives too: all of them are what a query is told from."""

    def takes(self, pair: TextPair) -> bool:
        """True if no text would be there twice, and no passage answers the query of another pair."""
        own = passages(pair)
        return (
            pair.query not in self.queries
            and pair.query not in self.passages
            and not any(text in self.passages or text in self.queries for text in own)
            # Sets ask by the smaller of the two: a query may have very many answers.
            and self.index.answers[pair.query].isdisjoint(self.passages)
            and all(self.index.questions.get(text, set()).isdisjoint(self.queries) for text in own)
        )

    def add(self, place: int, pair: TextPair) -> None:
        self.places.append(place)
        self.queries.add(pair.query)
        self.passages.update(passages(pair))


class AnswersApart(DefaultBatchSampler):  # type: ignore[misc]
    """As sentence-transformers' `NoDuplicatesBatchSampler`, which knows equal texts alone.

    Where a query has several answers, one of them may be another pair's passage: it is no negative of the query. What
    does not fit into a batch comes first in the next one. There are at least as many batches as `len` says.
    """

    def __init__(self, pairs: Sequence[TextPair], dataset: Any, **arguments: Any) -> None:
        super().__init__(dataset, **arguments)
        self._pairs = pairs
        self._index = AnswerIndex(pairs)
        # Nothing more is looked for where there are fewer queries, labels perhaps, than a batch has pairs.
        self._room = min(self.batch_size, len(self._index.answers), len(self._index.questions))

    def __iter__(self) -> Iterator[list[int]]:
        self.generator.manual_seed(self.seed + self.epoch)
        # The order is the library's own, which draws int32.
        waiting = deque(torch.randperm(len(self._pairs), generator=self.generator, dtype=torch.int32).tolist())
        n_batches = 0
        while waiting:
            batch = self._next(waiting)
            # A pair alone has no negatives: nothing would be learned from it.
            if len(batch) > 1 or not self.drop_last or n_batches < len(self):
                n_batches += 1
                yield batch

    def __len__(self) -> int:
        n_whole, n_left = divmod(len(self._pairs), int(self.batch_size))
        return n_whole if self.drop_last else n_whole + bool(n_left)

    def _next(self, waiting: deque[int]) -> list[int]:
        """Takes its places out of `waiting`."""
        batch, put_aside = Batch(self._index), []
        while waiting and len(batch.places) < self._room:
            place = waiting.popleft()
            if batch.takes(self._pairs[place]):
                batch.add(place, self._pairs[place])
            else:
                put_aside.append(place)
        waiting.extendleft(reversed(put_aside))
        return batch.places


def passages(pair: TextPair) -> tuple[str, ...]:
    """Of the pair: what answers its query, and what does not though it looks so."""
    return (pair.positive,) if pair.negative is None else (pair.positive, pair.negative)
