"""The forward pass of a BERT-like encoder over packed texts, for the runtimes that compute a graph.

All tokens of a batch lie behind each other in one [n_tokens, dim] matrix, and only attention gathers them into
[n_texts, longest, dim]: linear layers, nine tenths of the work, compute no padding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.families.token_positions import PaddingId, token_positions

Value = TypeVar("Value")
"""What a runtime's graph is built of: an array that will be computed."""

LONG_TEXT = 1024
"""Tokens. Texts are computed one by one where one is longer: ONNX Runtime's attention takes the square of the length in
memory unless it has nothing to mask."""


class Graph(Protocol[Value]):
    """A graph that is being built; it reads `PackedTexts`. Layers are called what they are in the encoder."""

    def lookup_ids(self, table: Tensor) -> Value:
        """The rows of [vocabulary, dim] that belong to the tokens' ids: [n_tokens, dim]."""

    def lookup_positions(self, table: Tensor) -> Value:
        """The rows of [positions, dim] that belong to the tokens' positions: [n_tokens, dim]."""

    def add(self, a: Value, b: Value | Tensor) -> Value:
        """[n_tokens, dim] and the same or one row -> [n_tokens, dim]"""

    def linear(self, x: Value, layer: nn.Linear, name: str) -> Value:
        """[n_tokens, in_features] -> [n_tokens, out_features]"""

    def layer_norm(self, x: Value, layer: nn.LayerNorm, name: str) -> Value:
        """[n_tokens, dim] -> the same"""

    def gelu(self, x: Value) -> Value:
        """The exact one, by the error function."""

    def attention(self, query: Value, key: Value, value: Value, n_heads: int) -> Value:
        """Self-attention within each text: [n_tokens, dim] -> the same."""


def build_encoder(graph: Graph[Value], encoder: Any) -> Value:
    """transformers' `BertModel` or `XLMRobertaModel` with the exact GELU: the last hidden states, [n_tokens, dim]."""
    embeddings = encoder.embeddings
    words = graph.lookup_ids(embeddings.word_embeddings.weight)
    positions = graph.lookup_positions(embeddings.position_embeddings.weight)
    added = graph.add(graph.add(words, embeddings.token_type_embeddings.weight[0]), positions)
    hidden = graph.layer_norm(added, embeddings.LayerNorm, "embeddings.norm")
    for number, layer in enumerate(encoder.encoder.layer):
        hidden = _layer(graph, layer, f"encoder.layer.{number}", hidden)
    return hidden


def _layer(graph: Graph[Value], layer: Any, name: str, hidden: Value) -> Value:
    attention = layer.attention
    query, key, value = (
        graph.linear(hidden, getattr(attention.self, part), f"{name}.attention.self.{part}")
        for part in ("query", "key", "value")
    )
    attended = graph.attention(query, key, value, attention.self.num_attention_heads)
    attended = graph.linear(attended, attention.output.dense, f"{name}.attention.output.dense")
    hidden = graph.layer_norm(graph.add(attended, hidden), attention.output.LayerNorm, f"{name}.attention.output.norm")
    inner = graph.gelu(graph.linear(hidden, layer.intermediate.dense, f"{name}.intermediate.dense"))
    outer = graph.linear(inner, layer.output.dense, f"{name}.output.dense")
    return graph.layer_norm(graph.add(outer, hidden), layer.output.LayerNorm, f"{name}.norm")


@dataclass(frozen=True, slots=True)
class PackedTexts:
    """A batch as such a graph reads it. Indices are int64."""

    ids: Tensor
    """[n_tokens]"""
    positions: Tensor
    """[n_tokens]"""
    rows: Tensor
    """[n_texts, longest]: the token at each place of the padded batch."""
    places: Tensor
    """[n_tokens]: where in the padded batch each token is."""
    mask: Tensor
    """[n_texts, longest] bool: true where there is a token."""
    lengths: list[int]
    """Tokens of each text."""

    @classmethod
    def of(cls, texts: Sequence[Tensor], padding_id: PaddingId, multiple: int) -> Self:
        """Of each text's ids: of one long text, or of any number of shorter ones, padded to a multiple.

        Where the multiple is that of the kernels' vectors, they sum up in the same order whatever else is in the batch,
        and the result is the same to the last bit.
        """
        lengths = [len(text) for text in texts]
        ids, n_tokens, longest = torch.cat(list(texts)), torch.tensor(lengths), max(lengths)
        columns = torch.arange(longest if longest > LONG_TEXT else -(-longest // multiple) * multiple)
        mask = columns < n_tokens[:, None]
        return cls(
            ids=ids,
            positions=token_positions(ids, lengths, padding_id),
            # What stands at the places of no token is computed and thrown away.
            rows=torch.where(mask, (n_tokens.cumsum(0) - n_tokens)[:, None] + columns, 0),
            places=mask.flatten().nonzero()[:, 0],
            mask=mask,
            lengths=lengths,
        )

    @property
    def is_long(self) -> bool:
        """True for one long text, of which nothing is masked."""
        return self.rows.shape[1] > LONG_TEXT


def hidden_states(
    texts: Sequence[Tensor], padding_id: PaddingId, multiple: int, compute: Callable[[PackedTexts], NDArray[np.float32]]
) -> list[Tensor]:
    """Token ids of each text, [n_tokens_i] int64, to its last hidden states, [n_tokens_i, dim] float32.

    `compute` gives [n_tokens, dim] of a batch: of all texts together, or of each alone if one of them is long.
    """
    batches = [texts] if max(map(len, texts)) <= LONG_TEXT else [[text] for text in texts]
    packed = [PackedTexts.of(batch, padding_id, multiple) for batch in batches]
    return [states for part in packed for states in torch.split(torch.from_numpy(compute(part)), part.lengths)]
