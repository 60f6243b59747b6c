"""The trunk that both starters have: an XLM-RoBERTa encoder which begins as the static student.

Post-norm layers give every hidden state the same norm, so a static vector cannot keep its length, which says how much
a token counts. It keeps it with two spare dimensions that hold what is missing (+spare and -spare: the mean stays 0),
and that the last normalization takes away. Positions add to the same two, so that late tokens count less. Layers begin
as the identity; of the last one's attention only `<s>` takes part, which collects the mean of the text.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import XLMRobertaConfig, XLMRobertaModel

from recipes.text.static import DIM as CONTENT
from recipes.text.static import Static, damping

DIM = 256
N_LAYERS = 2
N_HEADS = 4
INNER = 768

FIRST, RARITY, SPARE, NEGATIVE = CONTENT, CONTENT + 1, CONTENT + 2, CONTENT + 3
"""Dimensions behind the static ones: marks `<s>`; how rare a token is; what keeps the norm."""

NORM = 16.0
"""Root of `DIM`: what a normalization makes of every vector."""
RARITY_SHARE = 0.1
"""What the last normalization leaves of the rarity, so that it does not disturb the vectors."""
UNREAD = 0.05
"""What tokens of a prefix count."""
SPARE_LENGTH = 11.0
"""What most tokens have in a spare dimension; nearly the root of half of `NORM` squared."""

BOS, PAD, EOS = 0, 1, 2

OFFSET = 2
"""XLM-RoBERTa's first position, the padding id + 1."""


def encoder(static: Static, rarity: Tensor, max_tokens: int, n_unread: int) -> XLMRobertaModel:
    """An encoder of texts up to `max_tokens` whose mean over tokens points where the static vector does.

    `rarity` [vocabulary] within 0 and 1 is what a sparse head may read from the start. The first `n_unread` tokens
    behind `<s>` hardly count: a prefix that all texts have.
    """
    config = XLMRobertaConfig(
        vocab_size=len(static.tokens),
        hidden_size=DIM,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        intermediate_size=INNER,
        max_position_embeddings=max_tokens + OFFSET,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = XLMRobertaModel(config, add_pooling_layer=False)
    with torch.no_grad():
        _set_words(model.embeddings, static, rarity)
        model.embeddings.position_embeddings.weight.copy_(_positions(max_tokens, n_unread))
        for layer in model.encoder.layer:
            layer.attention.output.dense.weight.zero_()
            layer.output.dense.weight.zero_()
        _let_first_token_collect(model.encoder.layer[-1].attention)
        last = model.encoder.layer[-1].output.LayerNorm
        last.weight[RARITY], last.weight[FIRST] = RARITY_SHARE, 0.0
        last.weight[SPARE:] = 0.0
    return model


def hidden_states(model: XLMRobertaModel, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """[n, longest, DIM] of rows of ids, special tokens included, and which of them are no padding [n, longest]."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])
    mask = ids != PAD
    return model(input_ids=ids, attention_mask=mask.long()).last_hidden_state, mask


def _positions(max_tokens: int, n_unread: int) -> Tensor:
    """[max_tokens + 2, DIM] vectors that lengthen the spare dimensions, so that the others shrink."""
    factors = torch.ones(max_tokens)
    factors[1 : 1 + n_unread] = UNREAD
    factors[1 + n_unread :] = damping(max_tokens - 1 - n_unread)
    added = (SPARE_LENGTH**2 + NORM**2 / 2 * (factors**-2 - 1)).sqrt() - SPARE_LENGTH
    positions = torch.zeros(max_tokens + OFFSET, DIM)
    positions[OFFSET:, SPARE], positions[OFFSET:, NEGATIVE] = added, -added
    return positions


def _set_words(embeddings: Any, static: Static, rarity: Tensor) -> None:
    embeddings.token_type_embeddings.weight.zero_()
    words = embeddings.word_embeddings.weight
    words.zero_()
    content = static.tokens - static.tokens.mean(dim=1, keepdim=True)
    # The longest but one in a thousand fit; those are shortened.
    words[:, :CONTENT] = 0.8 * NORM * content / content.norm(dim=1).quantile(0.999)
    words[:, RARITY] = rarity
    words[BOS, FIRST] = 0.5 * NORM
    missing = (NORM**2 - words.square().sum(dim=1)).clamp(min=1.0)
    words[:, SPARE] = (missing / 2).sqrt()
    words[:, NEGATIVE] = -words[:, SPARE]


def _let_first_token_collect(attention: Any) -> None:
    """`<s>` attends to all tokens alike and adds their mean; every other token attends to `<s>`, which adds nothing."""
    query, key, value = attention.self.query, attention.self.key, attention.self.value
    for linear in (query, key):
        linear.weight.mul_(0.1)
    per_head = DIM // N_HEADS
    for head in range(N_HEADS):
        row = head * per_head
        query.weight[row], key.weight[row] = 0.0, 0.0
        # A logit of 10 for `<s>` unless the mark, about 8 where it is set, takes it away again.
        query.bias[row], query.weight[row, FIRST] = 8.0, -1.0
        key.weight[row, FIRST] = 10.0 / 8.0 * per_head**0.5 / 8.0
    identity = torch.eye(DIM)
    identity[CONTENT:] = 0.0
    value.weight.copy_(identity)
    attention.output.dense.weight.copy_(3.0 * identity)
