"""The losses of page models; tests/parity/test_visual_training.py compares them with the reference library's."""

import math

import pytest
import torch
from torch import Tensor

from app.core.maxsim import maxsim_matrix
from app.training.multi_vector_loss import (
    TEMPERATURE,
    in_batch_loss,
    late_interaction_loss,
    maxsim_scores,
    normalized_scores,
    pairwise_loss,
)

ALONE = torch.eye(2, dtype=torch.bool)
SCORES = torch.tensor([[3.0, 1.0], [2.0, 0.5]])


def rows(*lengths: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(sum(lengths))
    return [torch.nn.functional.normalize(torch.randn(n, 8, generator=random), dim=-1) for n in lengths]


def test_scores_are_those_of_serving() -> None:
    queries, pages = rows(3, 1, 5), rows(7, 2)
    expected = maxsim_matrix([query.numpy() for query in queries], [page.numpy() for page in pages])
    torch.testing.assert_close(maxsim_scores(queries, pages), torch.from_numpy(expected))


def test_a_page_scores_the_same_beside_a_longer_one() -> None:
    """Where padding had rows of zeros, a page that is unlike the query would gain by it."""
    query, page = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    longer = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    assert maxsim_scores([query], [page, longer]).tolist() == [[-1.0, 0.0]]


def test_pairwise_loss_by_hand() -> None:
    expected = (math.log(1 + math.exp(1 - 3)) + math.log(1 + math.exp(2 - 0.5))) / 2
    assert pairwise_loss(SCORES, ALONE).item() == pytest.approx(expected)


def test_in_batch_loss_by_hand() -> None:
    expected = (math.log(1 + math.exp(1 - 3)) + math.log(1 + math.exp(2 - 0.5))) / 2
    assert in_batch_loss(SCORES, ALONE).item() == pytest.approx(expected)


def test_the_trained_loss_by_hand() -> None:
    """Two queries of two rows each; every row has one page's row as its own and is square to the other's."""
    pages = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])]
    queries = [torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])]
    # Means of cosines: the first query 1 and 0, the second 1/2 and 1/2.
    expected = (math.log1p(math.exp(-1 / TEMPERATURE)) + math.log(2)) / 2
    assert late_interaction_loss(queries, pages, ALONE).item() == pytest.approx(expected)


def test_means_do_not_depend_on_the_querys_length() -> None:
    query, pages = rows(4)[0], rows(3, 6)
    doubled = torch.cat([query, query])
    short, long = (normalized_scores(maxsim_scores([it], pages), [it]) for it in (query, doubled))
    torch.testing.assert_close(short, long)


@pytest.mark.parametrize("loss", [pairwise_loss, in_batch_loss])
def test_the_same_page_twice_is_no_negative(loss: object) -> None:
    scores = torch.tensor([[3.0, 9.0, 1.0], [9.0, 3.0, 1.0], [0.0, 0.0, 2.0]], requires_grad=True)
    relevant = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    assert callable(loss)
    value = loss(scores, relevant)
    value.backward()
    without = loss(torch.tensor([[3.0, 1.0], [0.0, 2.0]]), ALONE)
    assert value.item() < 0.3
    assert without.item() < 0.3
    assert scores.grad is not None
    assert scores.grad[0, 1] == scores.grad[1, 0] == 0


@pytest.mark.parametrize("loss", [pairwise_loss, in_batch_loss])
def test_a_batch_of_one_page_teaches_nothing(loss: object) -> None:
    scores = SCORES.clone().requires_grad_()
    assert callable(loss)
    value = loss(scores, torch.ones(2, 2, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()
