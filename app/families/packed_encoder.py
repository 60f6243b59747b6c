"""Runs a BERT-like encoder over texts of unequal length without computing any padding.

All tokens of a batch lie behind each other in one [n_tokens, dim] matrix; only attention looks at one text at a
time. The weights stay in transformers' own modules, and its forward pass is the reference.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class PackedEncoder:
    """The forward pass of transformers' `BertModel` or `XLMRobertaModel`, packed."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self._head_dim: int = encoder.config.hidden_size // encoder.config.num_attention_heads
        # XLM-RoBERTa counts positions from behind the padding id, and a literal padding token has none of its own.
        self._padding_id: int | None = (
            encoder.config.pad_token_id if encoder.config.model_type == "xlm-roberta" else None
        )

    def __call__(self, texts: Sequence[Tensor]) -> list[Tensor]:
        """Token ids of each text, [n_tokens_i] int64, to its last hidden states, [n_tokens_i, dim]."""
        lengths = [len(ids) for ids in texts]
        positions = torch.cat([self._positions(ids) for ids in texts])
        hidden = self._encoder.embeddings(input_ids=torch.cat(list(texts))[None], position_ids=positions[None])[0]
        for layer in self._encoder.encoder.layer:
            hidden = self._layer(layer, hidden, lengths)
        return list(hidden.split(lengths))

    def _positions(self, ids: Tensor) -> Tensor:
        if self._padding_id is None:
            return torch.arange(len(ids), device=ids.device)
        counted = ids != self._padding_id
        return counted.cumsum(0) * counted + self._padding_id

    def _layer(self, layer: Any, hidden: Tensor, lengths: Sequence[int]) -> Tensor:
        attention = layer.attention
        attended = attention.output.dense(self._attend(attention.self, hidden, lengths))
        hidden = attention.output.LayerNorm(attended + hidden)
        inner = layer.intermediate.intermediate_act_fn(layer.intermediate.dense(hidden))
        normalized: Tensor = layer.output.LayerNorm(layer.output.dense(inner) + hidden)
        return normalized

    def _attend(self, attention: Any, hidden: Tensor, lengths: Sequence[int]) -> Tensor:
        """Self-attention within each text: [n_tokens, dim] -> [n_tokens, dim]."""
        query, key, value = (
            # Of each text [1, n_heads, n_tokens_i, head_dim].
            projection(hidden).view(1, len(hidden), -1, self._head_dim).transpose(1, 2).split(lengths, dim=2)
            for projection in (attention.query, attention.key, attention.value)
        )
        attended = [scaled_dot_product_attention(*qkv)[0] for qkv in zip(query, key, value, strict=True)]
        return torch.cat(attended, dim=1).transpose(0, 1).reshape(hidden.shape)
