"""What a student's vectors are trained for: to be like the teacher's, and to find the text that belongs to a text."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from recipes.text.data import Batch

TEACHER_TEMPERATURE = 0.05


def contrast(scores: Tensor, same: Tensor) -> Tensor:
    """InfoNCE both ways: each query among the documents, each document among the queries.

    `scores` [n, n] are divided by their temperature; entries where `same` [n, n] holds do not count.
    """
    scores = scores.masked_fill(same, float("-inf"))
    labels = torch.arange(len(scores))
    return (cross_entropy(scores, labels) + cross_entropy(scores.T, labels)) / 2


def likeness(vectors: Tensor, targets: Tensor) -> Tensor:
    """1 - cosine to the targets [n, dim], on average over those that are not zero."""
    known = targets.abs().amax(dim=1) > 0
    if not known.any():
        return vectors.sum() * 0
    return 1 - (normalize(vectors[known], dim=-1) * normalize(targets[known], dim=-1)).sum(dim=1).mean()


def agreement(scores: Tensor, batch: Batch) -> Tensor:
    """Cross entropy of the student's ranking [n, n] of a batch's documents with the teacher's."""
    known = batch.document_targets.abs().amax(dim=1) > 0
    if not known.all():
        return scores.sum() * 0
    wanted = (batch.query_targets @ batch.document_targets.T / TEACHER_TEMPERATURE).softmax(dim=1)
    return cross_entropy(scores, wanted)


def ndcg(scores: Tensor) -> float:
    """nDCG@10 where document i alone answers query i."""
    ranks = 1 + (scores > scores.diagonal()[:, None]).sum(dim=1)
    return float(torch.where(ranks <= 10, 1 / torch.log2(1 + ranks), 0).mean())
