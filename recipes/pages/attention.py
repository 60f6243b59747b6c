"""Attention of a vision tower while it is trained: what is fastest on a CPU, forward and backward."""

from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

MATERIALIZED = "materialized"
"""Name of `attention` among transformers' implementations."""

LONGEST_MATERIALIZED = 1024
"""Patches: longer pages would have too large matrices."""


def attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """Everything attends to everything; [n, heads, length, dim] -> [n, length, heads, dim].

    For short sequences of small heads two products of matrices are several times as fast backward as torch's
    fused kernel.
    """
    if query.shape[2] > LONGEST_MATERIALIZED:
        return scaled_dot_product_attention(query, key, value, scale=scaling).transpose(1, 2), None
    weights = (query * scaling @ key.transpose(-1, -2)).softmax(-1)
    return (weights @ value).transpose(1, 2), None


AttentionInterface.register(MATERIALIZED, attention)
