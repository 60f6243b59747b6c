"""What the tests of the vision towers share."""

from typing import Any

import pytest
from torch import Tensor, nn
from transformers import AttentionInterface

from recipes.pages.attention import MATERIALIZED, attention


def attention_weights(tower: nn.Module, pixels: Tensor, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """[n_heads, n_patches, n_patches] of each layer for one page."""
    found: list[Tensor] = []

    def watched(module: nn.Module, query: Tensor, key: Tensor, *arguments: Any, **options: Any) -> tuple[Tensor, None]:
        found.append((query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)[0])
        return attention(module, query, key, *arguments, **options)

    monkeypatch.setitem(AttentionInterface._global_mapping, MATERIALIZED, watched)
    tower(pixels)
    return found
