"""Heads with rotary positions in a form that positions beside the contents can have."""

import pytest
import torch
from torch import nn

from recipes.pages.neighbours import HEAD_DIM
from recipes.pages.rotary_heads import OFFSETS, factors, fitted_waves, heads_of, place_scores
from recipes.pages.siglip_tower import FREQUENCIES, N_PLACE, PATCHES_A_SIDE, page_places, places

N_HEADS = 3
WIDTH = N_HEADS * HEAD_DIM


@torch.no_grad()
def test_constant_queries_and_keys_score_by_offset_alone() -> None:
    torch.manual_seed(0)
    qkv = nn.Linear(WIDTH, 3 * WIDTH)
    qkv.weight.zero_()
    at = torch.cartesian_prod(torch.arange(5), torch.arange(7))
    heads = heads_of(qkv, torch.randn(2, len(at), WIDTH), at)
    assert heads.content.abs().max() == 0
    # The first number of each half turns by a radian a row.
    queries, keys, _ = qkv.bias.view(3, N_HEADS, HEAD_DIM)
    qkv.bias.view(3, N_HEADS, HEAD_DIM)[:2, :, [*range(1, 8), *range(9, 16)]] = 0
    down, across = heads_of(qkv, torch.zeros(1, len(at), WIDTH), at).offsets.unbind(1)
    assert across.abs().max() == 0
    for head in range(N_HEADS):
        (a, b), (c, d) = queries[head, [0, 8]].tolist(), keys[head, [0, 8]].tolist()
        for offset in (-3, 0, 2):
            angle = torch.tensor(float(offset))
            wanted = (a * c + b * d) * angle.cos() + (a * d - b * c) * angle.sin()
            assert float(down[head, PATCHES_A_SIDE - 1 + offset]) == pytest.approx(float(wanted) / 4, abs=1e-5)


@torch.no_grad()
def test_content_counts_as_where_nothing_turns() -> None:
    torch.manual_seed(0)
    qkv = nn.Linear(WIDTH, 3 * WIDTH)
    inputs = torch.randn(1, 50, WIDTH)
    heads = heads_of(qkv, inputs, torch.zeros(50, 2))
    queries, keys, _ = qkv(inputs[0]).view(50, 3, N_HEADS, HEAD_DIM).unbind(1)
    wanted = torch.einsum("qhd,khd->hqk", queries, keys) * HEAD_DIM**-0.5
    seen = torch.cat((torch.ones(50, 1), inputs[0]), dim=1)
    found = seen @ heads.content @ inputs[0].T
    assert found.softmax(-1) == pytest.approx(wanted.softmax(-1).numpy(), abs=1e-5)


@torch.no_grad()
def test_waves_attend_like_the_scores_that_they_are_fitted_to() -> None:
    # A head that looks at the third patch to the left, and one that looks at no patch in particular.
    scores = torch.stack((-0.5 * (OFFSETS - 3.0).square().clamp(max=40), torch.zeros(len(OFFSETS))))
    waves = fitted_waves(scores)
    angles = OFFSETS[:, None] * torch.tensor(FREQUENCIES)
    found = (waves[:, None, :, 0] * angles.cos() + waves[:, None, :, 1] * angles.sin()).sum(-1)
    assert found.softmax(-1) == pytest.approx(scores.softmax(-1).numpy(), abs=0.05)


@torch.no_grad()
def test_scores_by_places_depend_on_the_offset_and_are_highest_at_0() -> None:
    torch.manual_seed(0)
    waves = torch.randn(N_HEADS, 2, len(FREQUENCIES), 2)
    scores = place_scores(waves)
    query, key = torch.tensor([[20, 30]]), torch.tensor([[17, 31]])
    found = (places(query) @ scores @ places(key).T)[:, 0, 0]
    assert (places(query + 5) @ scores @ places(key + 5).T)[:, 0, 0] == pytest.approx(found.numpy(), abs=1e-4)
    every = places(torch.tensor([[PATCHES_A_SIDE - 1, 0]])) @ scores @ page_places().T
    assert every.max() < 1e-4
    assert scores.shape[1:] == (N_PLACE, N_PLACE)


@torch.no_grad()
def test_factors_of_full_rank_attend_alike() -> None:
    torch.manual_seed(0)
    queries, keys, scores = torch.randn(90, 12), torch.randn(90, 11) + 3, torch.randn(2, 12, 11)
    of_queries, of_keys = factors(scores, queries, keys, 11)
    found = (queries @ of_queries.mT) @ (keys @ of_keys.mT).mT
    assert found.softmax(-1) == pytest.approx((queries @ scores @ keys.T).softmax(-1).numpy(), abs=1e-4)
    fewer, _ = factors(scores, queries, keys, 4)
    assert fewer.shape == (2, 4, 12)
