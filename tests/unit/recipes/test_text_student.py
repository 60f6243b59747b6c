"""The encoder begins as the static student: what it makes of a text before any training."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from recipes.text.losses import ndcg
from recipes.text.static import DIM as STATIC_DIM
from recipes.text.static import damping
from recipes.text.student import BOS, EOS, encoder, hidden_states

VOCABULARY = 60
ROWS = [[7, 8, 9, 10, 11], list(range(10, 50)), [50, 51]]
MIN_COSINE = 0.95
"""Long vectors are shortened by their place a little less than short ones."""


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    """Static vectors; some tokens count more than others, the special ones nothing."""
    torch.manual_seed(0)
    vectors = torch.randn(VOCABULARY, STATIC_DIM) * torch.rand(VOCABULARY, 1)
    vectors -= vectors.mean(dim=1, keepdim=True)
    vectors[:4] = 0
    return vectors


def static_vectors(tokens: Tensor) -> Tensor:
    return torch.stack([(tokens[row] * damping(len(row))[:, None]).sum(dim=0) for row in ROWS])


@torch.no_grad()
def test_the_mean_is_the_static_vector_and_the_first_token_has_it(tokens: Tensor) -> None:
    model = encoder(SimpleNamespace(tokens=tokens), torch.rand(VOCABULARY), max_tokens=64, n_unread=0)
    hidden, mask = hidden_states(model, [[BOS, *row, EOS] for row in ROWS])
    mean = (hidden * mask[..., None]).sum(dim=1)
    for vectors in (mean, hidden[:, 0]):
        assert cosine_similarity(vectors[:, :STATIC_DIM], static_vectors(tokens)).min() >= MIN_COSINE


@torch.no_grad()
def test_a_prefix_hardly_counts(tokens: Tensor) -> None:
    prefix = [5, 6]
    model = encoder(SimpleNamespace(tokens=tokens), torch.rand(VOCABULARY), max_tokens=64, n_unread=len(prefix))
    hidden, _ = hidden_states(model, [[BOS, *prefix, *row, EOS] for row in ROWS])
    assert cosine_similarity(hidden[:, 0, :STATIC_DIM], static_vectors(tokens)).min() >= MIN_COSINE


def test_ndcg_of_known_ranks() -> None:
    scores = torch.eye(3)
    assert ndcg(scores) == 1.0
    scores[0] = torch.tensor([0.0, 1.0, 0.5])
    assert ndcg(scores) == pytest.approx((2 + 0.5) / 3)
