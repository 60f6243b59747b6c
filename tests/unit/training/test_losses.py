"""BGE-M3's loss against sums made by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.families.bge_m3 import BgeM3Heads
from app.training.losses import (
    TEMPERATURE,
    M3Loss,
    TokenStates,
    colbert_scores,
    m3_loss,
    m3_scores,
    sparse_scores,
)

DIM, LONGEST, VOCABULARY = 6, 5, 12
SPECIAL = (0, 1, 2, 3)


class Encoder(nn.Module):
    """Words in, hidden states out, with dropout as in training."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, DIM)
        self.layer = nn.Sequential(nn.Linear(DIM, DIM), nn.Dropout(dropout), nn.Tanh())

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"token_embeddings": self.layer(self.words(features["input_ids"]))}


@pytest.fixture
def heads() -> BgeM3Heads:
    torch.manual_seed(1)
    return BgeM3Heads(nn.Linear(DIM, 1), nn.Linear(DIM, DIM))


def texts(n: int, seed: int) -> dict[str, Tensor]:
    """Token ids with `<s>`, `</s>` and padding; texts of unequal length."""
    numbers = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, VOCABULARY, (n, LONGEST), generator=numbers)
    lengths = torch.randint(3, LONGEST + 1, (n,), generator=numbers)
    mask = torch.arange(LONGEST)[None] < lengths[:, None]
    ids[:, 0] = 0
    ids[torch.arange(n), lengths - 1] = 2
    return {"input_ids": ids.masked_fill(~mask, 1), "attention_mask": mask.long()}


def states(n: int, seed: int) -> TokenStates:
    features = texts(n, seed)
    hidden = torch.randn(n, LONGEST, DIM, generator=torch.Generator().manual_seed(seed))
    return TokenStates(hidden, features["input_ids"], features["attention_mask"].bool())


def test_loss_by_hand() -> None:
    scores = {
        "dense": torch.tensor([[2.0, 0.0], [1.0, 3.0]]),
        "sparse": torch.tensor([[1.0, 1.0], [0.0, 4.0]]),
        "colbert": torch.tensor([[0.5, 0.0], [2.0, 1.0]]),
    }
    parts = {kind: score.double().numpy() for kind, score in scores.items()}
    total = parts["dense"] + 0.3 * parts["sparse"] + parts["colbert"]

    def log_softmax(rows: np.ndarray) -> np.ndarray:
        return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))

    right = {kind: -np.mean(np.diagonal(log_softmax(rows))) for kind, rows in (parts | {"sum": total}).items()}
    ranking = np.exp(log_softmax(total))
    like = {kind: -np.mean((ranking * log_softmax(rows)).sum(axis=1)) for kind, rows in parts.items()}
    found = (right["dense"] + 0.1 * right["sparse"] + right["colbert"] + right["sum"]) / 4
    learned = (like["dense"] + 0.1 * like["sparse"] + like["colbert"]) / 3
    assert float(m3_loss(scores)) == pytest.approx((found + learned) / 2, abs=1e-6)


def test_sparse_scores_by_hand(heads: BgeM3Heads) -> None:
    queries, passages = states(3, seed=1), states(4, seed=2)
    scores = sparse_scores(heads.sparse_linear, queries, passages, SPECIAL)

    def weights(text: TokenStates, row: int) -> dict[int, float]:
        found: dict[int, float] = {}
        for place in range(LONGEST):
            token = int(text.ids[row, place])
            weight = max(0.0, heads.sparse_linear(text.hidden[row, place]).item())
            if token not in SPECIAL:
                found[token] = max(weight, found.get(token, 0.0))
        return found

    for i in range(3):
        for j in range(4):
            query, passage = weights(queries, i), weights(passages, j)
            expected = sum(weight * passage.get(token, 0.0) for token, weight in query.items())
            assert float(scores[i, j].detach()) == pytest.approx(expected, abs=1e-5)


def test_colbert_scores_by_hand(heads: BgeM3Heads) -> None:
    queries, passages = states(11, seed=3), states(4, seed=4)
    scores = colbert_scores(heads.colbert_linear, queries, passages)

    def vectors(text: TokenStates, row: int) -> Tensor:
        kept = text.hidden[row][text.mask[row]][1:]
        return nn.functional.normalize(heads.colbert_linear(kept), dim=-1)

    for i in range(11):
        for j in range(4):
            expected = (vectors(queries, i) @ vectors(passages, j).T).max(dim=1).values.mean()
            assert scores[i, j].item() == pytest.approx(expected.item(), abs=1e-5)


def test_hard_negatives_follow_the_passages(heads: BgeM3Heads) -> None:
    queries, passages, negatives = states(3, seed=5), states(3, seed=6), states(3, seed=7)
    with_negatives = m3_scores(heads, queries, [passages, negatives], SPECIAL)
    without = m3_scores(heads, queries, [passages], SPECIAL)
    for kind, score in without.items():
        assert with_negatives[kind].shape == (3, 6)
        assert torch.allclose(with_negatives[kind][:, :3], score, atol=1e-5)
    cosines = without["dense"] * TEMPERATURE
    assert cosines.abs().max() <= 1 + 1e-6


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_parts_of_a_batch_have_the_gradients_of_the_whole(dropout: float) -> None:
    """Whatever the size of the parts; with dropout at the same places in both passes."""
    results = {size: gradients(mini_batch_size=size, dropout=dropout) for size in (2, 3, 7)}
    if dropout == 0:
        for size in (2, 3):
            for name, gradient in results[7].items():
                assert torch.allclose(results[size][name], gradient, atol=1e-5), name
    else:
        again = gradients(mini_batch_size=2, dropout=dropout)
        assert all(torch.equal(results[2][name], gradient) for name, gradient in again.items())


def gradients(mini_batch_size: int, dropout: float) -> dict[str, Any]:
    torch.manual_seed(0)
    heads = BgeM3Heads(nn.Linear(DIM, 1), nn.Linear(DIM, DIM))
    loss = M3Loss(Encoder(dropout), heads, SPECIAL, mini_batch_size)
    value = loss([texts(7, seed=8), texts(7, seed=9), texts(7, seed=10)], None)
    value.backward() if value.requires_grad else None
    return {name: parameter.grad for name, parameter in loss.named_parameters()} | {"loss": value.detach()}


def test_autocast_does_not_round_the_scores() -> None:
    """As in training on a GPU: the encoder computes in bfloat16, the loss does not."""
    torch.manual_seed(0)
    loss = M3Loss(Encoder(0.0), BgeM3Heads(nn.Linear(DIM, 1), nn.Linear(DIM, DIM)), SPECIAL, mini_batch_size=9)
    columns = [texts(7, seed=seed) for seed in (8, 9)]
    loss._columns = [(column["input_ids"], column["attention_mask"].bool()) for column in columns]
    hidden = [[torch.randn(7, LONGEST, DIM)] for _ in columns]
    expected = loss.calculate_loss(hidden)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss.calculate_loss(hidden), expected)
