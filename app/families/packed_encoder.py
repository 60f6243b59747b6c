"""Runs a BERT-like encoder with PyTorch over texts of unequal length without computing any padding.

All tokens of a batch lie behind each other in one [n_tokens, dim] matrix; only attention looks at one text at a
time. The forward pass of transformers is the reference.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from app.families.base import Padding
from app.families.cuda_graphs import GraphedForward
from app.families.fused import add_layer_norm, linear_gelu
from app.families.low_rank import Adapter, LowRank, joined, memory_of, with_adapter
from app.families.token_positions import padding_id, token_positions
from app.families.torch_model import dtype_name, memory_bytes, to_device
from app.families.varlen_attention import Bounds, VarlenAttention

PROJECTIONS = ("query", "key", "value")

AttendJoined = Callable[[Tensor], Tensor]
"""Query, key and value [n_tokens, 3, n_heads, head_dim] to [n_tokens, n_heads, head_dim], each text by itself."""


class PackedEncoder:
    """The forward pass of transformers' `BertModel` or `XLMRobertaModel`, packed.

    It takes the weights over: the encoder's own forward pass does not work any more.
    """

    backend = "torch"
    padding = Padding.NONE

    def __init__(self, encoder: Any, attention: VarlenAttention | None = None) -> None:
        """Without `attention` each text's is a call of its own, which costs little on a CPU."""
        self.memory_bytes = memory_bytes(encoder)
        self.attention = attention.name if attention else "sdpa"
        self.dtype = dtype_name(encoder)
        for layer in encoder.encoder.layer:
            _join_projections(layer.attention.self)
        self._encoder = encoder
        self._attention = attention
        self._head_dim: int = encoder.config.hidden_size // encoder.config.num_attention_heads
        self._padding_id = padding_id(encoder.config)
        on_gpu_in_bfloat16 = encoder.device.type == "cuda" and encoder.dtype == torch.bfloat16
        self._fuses_gelu = on_gpu_in_bfloat16 and encoder.config.hidden_act == "gelu"
        can_be_recorded = attention is not None and attention.can_be_recorded
        self._graphs = GraphedForward(str(encoder.device)) if can_be_recorded else None

    def __call__(self, texts: Sequence[Tensor]) -> list[Tensor]:
        """Ids of each text, [n_tokens_i] int64 on the CPU, to its last hidden states, [n_tokens_i, dim] float32."""
        device = str(self._encoder.device)
        lengths = [len(ids) for ids in texts]
        packed = torch.cat(list(texts))
        ids = to_device(packed, device)
        positions = to_device(token_positions(packed, lengths, self._padding_id), device)
        if self._graphs:
            hidden = self._graphs(self._forward_within, ids, positions, lengths)
        else:
            hidden = self._forward(ids, positions, self._attend_with(lengths, device)).float()
        return list(torch.split(hidden, lengths))

    def adapted(self, adapter: Adapter) -> Self:
        """The same encoder with a LoRA adapter, over the same weights. Raises `ModelLoadError`."""
        runner = copy.copy(self)
        adapter = _with_joined_projections(adapter)
        runner._encoder = with_adapter(self._encoder, adapter)
        runner.memory_bytes = memory_of(adapter)
        runner._graphs = self._graphs and GraphedForward(str(self._encoder.device))
        return runner

    def _forward(self, ids: Tensor, positions: Tensor, attend: AttendJoined) -> Tensor:
        """Of packed texts, [n_tokens] each, to [n_tokens, dim]."""
        hidden: Tensor = self._encoder.embeddings(input_ids=ids[None], position_ids=positions[None])[0]
        for layer in self._encoder.encoder.layer:
            hidden = self._layer(layer, hidden, attend)
        return hidden

    def _forward_within(self, ids: Tensor, positions: Tensor, bounds: Bounds) -> Tensor:
        """The same, of texts within these bounds, by one call of attention a layer."""
        assert self._attention is not None  # noqa: S101 - there are graphs only with one
        return self._forward(ids, positions, _in_one_call(self._attention, bounds))

    def _layer(self, layer: Any, hidden: Tensor, attend: AttendJoined) -> Tensor:
        attention = layer.attention
        parts = attention.self.query_key_value(hidden).view(len(hidden), 3, -1, self._head_dim)
        attended = attention.output.dense(attend(parts).reshape(hidden.shape))
        hidden = _add_and_norm(attended, hidden, attention.output.LayerNorm)
        inner = self._activated(layer.intermediate, hidden)
        return _add_and_norm(layer.output.dense(inner), hidden, layer.output.LayerNorm)

    def _activated(self, intermediate: Any, hidden: Tensor) -> Tensor:
        # An adapter's layer is more than a product.
        if self._fuses_gelu and isinstance(intermediate.dense, nn.Linear):
            return linear_gelu(intermediate.dense, hidden)
        activated: Tensor = intermediate.intermediate_act_fn(intermediate.dense(hidden))
        return activated

    def _attend_with(self, lengths: Sequence[int], device: str) -> AttendJoined:
        """Self-attention within texts of these lengths."""
        attention = self._attention
        if attention is None:
            return lambda parts: torch.cat([_attend(text) for text in torch.split(parts, list(lengths))])
        return _in_one_call(attention, Bounds.of(lengths, device))


def _in_one_call(attention: VarlenAttention, bounds: Bounds) -> AttendJoined:
    return lambda parts: attention(parts[:, 0], parts[:, 1], parts[:, 2], bounds)


def _add_and_norm(x: Tensor, residual: Tensor, norm: nn.LayerNorm) -> Tensor:
    return add_layer_norm(x, residual, norm.weight, norm.bias, eps=norm.eps)


def _attend(text: Tensor) -> Tensor:
    """Query, key and value of one text, [n_tokens, 3, n_heads, head_dim], to [n_tokens, n_heads, head_dim]."""
    query, key, value = text.permute(1, 2, 0, 3)[:, None]
    return scaled_dot_product_attention(query, key, value)[0].transpose(0, 1)


def _join_projections(attention: Any) -> None:
    """One product for query, key and value in place of three."""
    parts = [getattr(attention, name) for name in PROJECTIONS]
    dim, width = parts[0].in_features, sum(part.out_features for part in parts)
    joined = nn.Linear(dim, width, device="meta")
    joined.weight = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
    joined.bias = nn.Parameter(torch.cat([part.bias for part in parts]), requires_grad=False)
    attention.query_key_value = joined
    del attention.query, attention.key, attention.value


def _with_joined_projections(adapter: Adapter) -> dict[str, LowRank]:
    """What it adds to queries, keys and values as one addition to the layer that computes all three."""
    attentions = {name.rpartition(".")[0] for name in adapter if name.endswith(PROJECTIONS)}
    others = {name: low_rank for name, low_rank in adapter.items() if name.rpartition(".")[0] not in attentions}
    return others | {
        f"{attention}.query_key_value": joined([adapter.get(f"{attention}.{part}") for part in PROJECTIONS])
        for attention in attentions
    }
