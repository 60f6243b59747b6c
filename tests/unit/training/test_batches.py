"""Batches of text pairs: what may stand together, and that every pair has its turn."""

import pytest
import torch
from datasets import Dataset
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler

from app.training.batches import AnswersApart, Batch
from app.training.pairs_split import TextPair, columns

SEVERAL = [
    TextPair("capital of France", "Paris"),
    TextPair("capital of France", "The city of Paris"),
    TextPair("where is the Louvre", "Paris"),
    TextPair("where is the Louvre", "By the Seine"),
    *(TextPair(f"query {number}", f"passage {number}") for number in range(6)),
]


def batches(pairs: list[TextPair], batch_size: int, *, drop_last: bool = False, epoch: int = 0) -> list[list[int]]:
    sampler = AnswersApart(
        pairs, range(len(pairs)), batch_size=batch_size, drop_last=drop_last, generator=torch.Generator(), seed=7
    )
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("epoch", range(20))
def test_an_answer_is_nobodys_negative(epoch: int) -> None:
    """Also if it is the passage of another pair: `The city of Paris` beside `where is the Louvre` is right, for all
    that is known, but `Paris` answers the one and the other."""
    answers: dict[str, set[str]] = {}
    for pair in SEVERAL:
        answers.setdefault(pair.query, set()).add(pair.positive)
    for batch in batches(SEVERAL, 4, epoch=epoch):
        for one in batch:
            others = {SEVERAL[other].positive for other in batch if other != one}
            assert answers[SEVERAL[one].query].isdisjoint(others)


def test_the_librarys_own_knows_equal_texts_alone() -> None:
    """Why there is another one: it puts an answer beside a query as a wrong one."""
    apart = NoDuplicatesBatchSampler(
        Dataset.from_dict(columns([SEVERAL[1], SEVERAL[2], SEVERAL[0]])), 2, False, generator=torch.Generator(), seed=0
    )
    together = [sorted(batch) for epoch in range(20) for batch in (apart.set_epoch(epoch), *apart)[1:]]
    assert [0, 1] in together


def test_a_hard_negative_that_answers_another_query_stays_apart() -> None:
    pairs = [TextPair("a", "A", "B2"), TextPair("b", "B", "x"), TextPair("b", "B2", "y"), TextPair("c", "C", "z")]
    for epoch in range(10):
        for batch in batches(pairs, 2, epoch=epoch):
            assert {pairs[place].query for place in batch} != {"a", "b"}


@pytest.mark.parametrize("batch_size", [2, 3, 4, 32])
def test_every_pair_has_its_turn_once(batch_size: int) -> None:
    found = batches(SEVERAL, batch_size)
    assert sorted(place for batch in found for place in batch) == list(range(len(SEVERAL)))
    assert max(map(len, found)) <= batch_size


def test_without_several_answers_it_is_as_the_librarys_own() -> None:
    pairs = [TextPair(f"query {number}", f"passage {number % 90}") for number in range(100)]
    own = NoDuplicatesBatchSampler(Dataset.from_dict(columns(pairs)), 8, False, generator=torch.Generator(), seed=7)
    for epoch in range(3):
        own.set_epoch(epoch)
        assert batches(pairs, 8, epoch=epoch) == list(own)


def test_a_pair_alone_is_left_out_but_no_step_is() -> None:
    pairs = SEVERAL[-5:]
    assert [len(batch) for batch in batches(pairs, 4, drop_last=True)] == [4]
    linked = [TextPair("one", f"passage {number}") for number in range(8)] + SEVERAL[-1:]
    assert len(batches(linked, 4, drop_last=True)) >= len(linked) // 4


def test_few_queries_are_not_looked_through_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of labels holds each once; to look for more in all that is left would take the square of their number."""
    asked: list[TextPair] = []
    takes = Batch.takes
    monkeypatch.setattr(Batch, "takes", lambda batch, pair: [asked.append(pair), takes(batch, pair)][1])
    pairs = [TextPair(f"label {number % 4}", f"passage {number}") for number in range(4000)]
    assert len(batches(pairs, 32)) == pytest.approx(1000, rel=0.1)
    assert len(asked) < 100 * len(pairs)
