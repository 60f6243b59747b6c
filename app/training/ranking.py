"""How well held-out queries find their passages: measured before and after a training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from app.core.types import FloatArray
from app.evaluation.metrics import ndcg_at_k, recall_at_k
from app.training.pairs_split import Split
from app.training.task import TrainingFailedError

N_DISTRACTORS = 300
"""Passages of training pairs, at most, that the held-out queries have to pass by."""
SCALE = 20.0
"""Of cosines before the softmax, as in `MultipleNegativesRankingLoss`."""

Encode = Callable[[Sequence[str]], FloatArray]
"""Texts to unit vectors [n, dim]."""


@dataclass(frozen=True, slots=True)
class RankingTask:
    """Which passages each query should find among the candidates."""

    queries: tuple[str, ...]
    candidates: tuple[str, ...]
    relevant: tuple[frozenset[int], ...]
    """Of each query: indices of candidates."""
    n_pairs: int


def ranking_task(split: Split) -> RankingTask:
    """The held-out queries against all held-out passages and some that are trained on."""
    distractors = list(dict.fromkeys(pair.positive for pair in split.train))[:N_DISTRACTORS]
    # Equal scores rank in the order of the candidates: vectors that are all alike must not look good.
    candidates = tuple(dict.fromkeys([*distractors, *(pair.positive for pair in split.held_out)]))
    places = {text: index for index, text in enumerate(candidates)}
    wanted: dict[str, set[int]] = {}
    for pair in split.held_out:
        wanted.setdefault(pair.query, set()).add(places[pair.positive])
    return RankingTask(tuple(wanted), candidates, tuple(map(frozenset, wanted.values())), len(split.held_out))


def measure(task: RankingTask, encode_queries: Encode, encode_passages: Encode) -> dict[str, float]:
    """nDCG@10, recall@1 and the mean loss over the queries. Raises `TrainingFailedError` for vectors that are none."""
    scores = encode_queries(task.queries) @ encode_passages(task.candidates).T
    if not np.isfinite(scores).all():
        raise TrainingFailedError("The vectors are not finite: the training has diverged. Lower the learning_rate.")
    return figures(scores, task)


def figures(scores: FloatArray, task: RankingTask) -> dict[str, float]:
    """Of cosines [n_queries, n_candidates]."""
    first = [
        frozenset(found) if len(found) == 1 else _best(row, found)
        for row, found in zip(scores, task.relevant, strict=True)
    ]
    return {
        "loss": ranking_loss(scores, task.relevant),
        "ndcg@10": float(ndcg_at_k(scores, task.relevant, 10).mean()),
        "recall@1": float(recall_at_k(scores, first, 1).mean()),
        "n_pairs": task.n_pairs,
        "n_candidates": len(task.candidates),
    }


def ranking_loss(scores: FloatArray, relevant: Sequence[frozenset[int]]) -> float:
    """Mean cross entropy of each query's passages among the candidates; its other passages do not count against one."""
    losses = []
    for row, found in zip(np.asarray(scores, dtype=np.float64) * SCALE, relevant, strict=True):
        others = np.delete(row, list(found))
        losses += [float(np.logaddexp.reduce(np.append(others, row[index])) - row[index]) for index in sorted(found)]
    return float(np.mean(losses))


def _best(row: FloatArray, found: frozenset[int]) -> frozenset[int]:
    """Of several right answers the one that scores best, so that finding one of them first counts as 1."""
    return frozenset({max(found, key=lambda index: float(row[index]))})
