"""Positions as BERT and XLM-RoBERTa count them."""

from typing import Any

import torch
from torch import Tensor

PaddingId = int | None


def padding_id(config: Any) -> PaddingId:
    """The id from behind which positions are counted; None for BERT, which counts from 0."""
    return config.pad_token_id if config.model_type == "xlm-roberta" else None


def token_positions(ids: Tensor, padding_id: PaddingId) -> Tensor:
    """The position of each token of one text: [n_tokens] int64.

    XLM-RoBERTa counts from behind the padding id, and a literal padding token has no position of its own.
    """
    if padding_id is None:
        return torch.arange(len(ids), device=ids.device)
    counted = ids != padding_id
    return counted.cumsum(0) * counted + padding_id
