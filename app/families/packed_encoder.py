"""Runs a BERT-like encoder over texts of unequal length without computing any padding.

All tokens of a batch lie behind each other in one [n_tokens, dim] matrix; only attention looks at one text at a
time. The forward pass of transformers is the reference.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.activations import GELUActivation

from app.families.onednn import OneDnnLinear, can_pack


class PackedEncoder:
    """The forward pass of transformers' `BertModel` or `XLMRobertaModel`, packed.

    It takes the weights over: the encoder's own forward pass does not work any more.
    """

    def __init__(self, encoder: Any) -> None:
        for layer in encoder.encoder.layer:
            _join_projections(layer.attention.self)
            _join_gelu(layer.intermediate)
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
        texts = attention.query_key_value(hidden).view(len(hidden), 3, -1, self._head_dim).split(lengths)
        # Query, key and value of each text: [1, n_heads, n_tokens_i, head_dim].
        attended = [scaled_dot_product_attention(*text.permute(1, 2, 0, 3)[:, None])[0] for text in texts]
        return torch.cat([text.transpose(0, 1) for text in attended]).reshape(hidden.shape)


def _join_projections(attention: Any) -> None:
    """One product for query, key and value in place of three."""
    parts = (attention.query, attention.key, attention.value)
    dim, width = parts[0].in_features, sum(part.out_features for part in parts)
    joined = nn.Linear(dim, width, device="meta")
    joined.weight = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
    joined.bias = nn.Parameter(torch.cat([part.bias for part in parts]), requires_grad=False)
    attention.query_key_value = joined
    del attention.query, attention.key, attention.value


def _join_gelu(intermediate: Any) -> None:
    """The exact GELU while the product is still in the processor's registers."""
    if isinstance(intermediate.intermediate_act_fn, GELUActivation) and can_pack(intermediate.dense):
        intermediate.dense = OneDnnLinear(intermediate.dense, gelu=True)
        intermediate.intermediate_act_fn = nn.Identity()
