"""Positions as BERT and XLM-RoBERTa count them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

PaddingId = int | None


def padding_id(config: Any) -> PaddingId:
    """The id from behind which positions are counted; None for BERT, which counts from 0."""
    return config.pad_token_id if config.model_type == "xlm-roberta" else None


def token_positions(ids: Tensor, lengths: Sequence[int], padding_id: PaddingId) -> Tensor:
    """The position of each token in its text, for texts of so many tokens behind each other: [n_tokens] int64.

    XLM-RoBERTa counts from behind the padding id, and a literal padding token has no position of its own.
    """
    # For all texts at once: a batch can have hundreds of short ones.
    n_tokens = torch.tensor(lengths)
    first = n_tokens.cumsum(0) - n_tokens
    if padding_id is None:
        return torch.arange(len(ids)) - first.repeat_interleave(n_tokens)
    counted = (ids != padding_id).long()
    seen = counted.cumsum(0)
    before = (seen - counted)[first].repeat_interleave(n_tokens)
    return (seen - before) * counted + padding_id
