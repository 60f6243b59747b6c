"""Batches in parts have the gradients of whole ones."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from app.training.gradient_cache import RandomState, backward, parts
from app.training.multi_vector_loss import late_interaction_loss


def inputs(n: int, seed: int) -> list[Tensor]:
    """Of several lengths."""
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(2 + number % 3, 6, generator=random) for number in range(n)]


QUERIES, PAGES = inputs(7, seed=1), inputs(7, seed=2)
RELEVANT = torch.eye(7, dtype=torch.bool)


def gradients(part_size: int, dropout: float) -> tuple[float, list[Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(dropout), nn.Tanh(), nn.Linear(16, 4))

    def embed(batch: Sequence[Tensor]) -> list[Tensor]:
        return [nn.functional.normalize(model(rows), dim=-1) for rows in batch]

    def loss(queries: list[Tensor], pages: list[Tensor]) -> Tensor:
        return late_interaction_loss(queries, pages, RELEVANT)

    value = backward(embed, QUERIES, PAGES, loss, part_size)
    return value.item(), [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("part_size", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gradients_are_those_of_the_whole_batch(part_size: int, dropout: float) -> None:
    value, found = gradients(part_size, dropout)
    expected_value, expected = gradients(7, dropout)
    assert value == pytest.approx(expected_value, rel=1e-5)
    assert len(found) == 4
    for mine, whole in zip(found, expected, strict=True):
        assert whole.abs().max() > 0.01
        torch.testing.assert_close(mine, whole, rtol=1e-4, atol=1e-5)


def test_dropout_drops_the_same_again_and_then_goes_on() -> None:
    torch.manual_seed(3)
    before = RandomState.now()
    first = torch.rand(4)
    with before.again():
        assert torch.equal(torch.rand(4), first)
    after = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(8), torch.cat([first, after]))


def test_apples_random_numbers_are_put_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [torch.tensor([1])]
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: numbers[-1])
    monkeypatch.setattr(torch.mps, "set_rng_state", numbers.append)
    state = RandomState.now()
    numbers.append(torch.tensor([2]))
    with state.again():
        assert numbers[-1].item() == 1
    assert numbers[-1].item() == 2


def test_parts() -> None:
    assert parts([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
    assert parts([], 2) == []
