"""Attention of the page recipes."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from recipes.pages import attention as module
from recipes.pages.attention import attention


@pytest.mark.parametrize("longest", [4, 100])
def test_both_ways_compute_attention(longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_MATERIALIZED", longest)
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 3, 10, 8)
    found, _ = attention(None, query, key, value, None, scaling=0.3)
    wanted = scaled_dot_product_attention(query, key, value, scale=0.3).transpose(1, 2)
    assert found == pytest.approx(wanted.numpy(), abs=1e-6)
