"""Losses over late interaction with in-batch negatives, as colpali-engine's `ColbertLoss` and `ColbertPairwiseCELoss`.

`late_interaction_loss` is what page models are trained with: the cross-entropy of the recipes of colpali-engine 0.3,
over scores that are divided by the queries' lengths, at their temperature of 0.02. The pairwise loss of ColPali's paper
knows each query's hardest negative alone. Models that were never trained it leads to one vector for everything, and its
value to log 2; the cross-entropy separates the pages of the same model.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

TEMPERATURE = 0.02
EXCLUDED = -1e4
"""Score of a page that is no negative of a query: far below all others, and finite, as gradients need it."""


def late_interaction_loss(queries: Sequence[Tensor], pages: Sequence[Tensor], relevant: Tensor) -> Tensor:
    """Of n queries and their n pages in the same order, [n_rows, dim] each, unit rows.

    `relevant` [n, n], boolean, is true where a page answers a query: on the diagonal, and wherever else a batch has the
    same page or query twice. Such pages are no negatives.
    """
    scores = normalized_scores(maxsim_scores(queries, pages), queries)
    return in_batch_loss(scores / TEMPERATURE, relevant)


def maxsim_scores(queries: Sequence[Tensor], pages: Sequence[Tensor]) -> Tensor:
    """MaxSim of every query [n_rows, dim] with every page [n_rows, dim]: [n_queries, n_pages].

    All keep their own lengths, so no padding is scored. Gradients go through it, and keep only which row of a page was
    nearest to each row of a query.
    """
    rows = torch.cat(list(queries))
    best = torch.stack([(rows @ page.T).max(dim=1).values for page in pages], dim=1)
    own_rows = torch.split(best, [len(query) for query in queries])
    return torch.stack([own.sum(dim=0) for own in own_rows])


def normalized_scores(scores: Tensor, queries: Sequence[Tensor]) -> Tensor:
    """`scores` [n_queries, n_pages] divided by the queries' lengths: means of cosines in place of sums."""
    lengths = torch.tensor([len(query) for query in queries], device=scores.device)
    return scores / lengths[:, None]


def in_batch_loss(scores: Tensor, relevant: Tensor) -> Tensor:
    """Mean cross-entropy of finding each query's page, on the diagonal of `scores` [n, n], among the batch's."""
    own = torch.arange(len(scores), device=scores.device)
    others = relevant.to(scores.device) & (own[:, None] != own)
    return cross_entropy(scores.masked_fill(others, EXCLUDED), own)


def pairwise_loss(scores: Tensor, relevant: Tensor) -> Tensor:
    """Mean of softplus(best negative - positive), ColPali's own (arXiv:2407.01449). Arguments as `in_batch_loss`."""
    negatives = scores.masked_fill(relevant.to(scores.device), EXCLUDED).max(dim=1).values
    return softplus(negatives - scores.diagonal()).mean()
