"""Figures on held-out pairs."""

import numpy as np

from app.training.pairs_split import Split, TextPair
from app.training.ranking import figures, ranking_task


def test_vectors_that_are_all_alike_find_nothing() -> None:
    pairs = [TextPair(f"q{index}", f"p{index}") for index in range(40)]
    task = ranking_task(Split(tuple(pairs[4:]), tuple(pairs[:4])))
    found = figures(np.ones((len(task.queries), len(task.candidates)), dtype=np.float32), task)
    assert found["recall@1"] == 0
    assert found["ndcg@10"] == 0
