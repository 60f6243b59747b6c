"""BGE-M3's loss: its three kinds of vectors trained together, each learning from the ranking of their sum.

Chen et al., arXiv:2402.03216, section 3.3; FlagEmbedding's weights and temperature.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers.base.losses.gradcache import CachedLossMixin, RandContext
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from app.families.bge_m3 import BgeM3Heads

TEMPERATURE = 0.02
IN_SUM = {"dense": 1.0, "sparse": 0.3, "colbert": 1.0}
"""Weights of the scores in their sum."""
IN_LOSS = {"dense": 1.0, "sparse": 0.1, "colbert": 1.0}
"""Weights of their losses: sparse scores begin noisy and large."""
ROWS_AT_ONCE = 8
"""Queries whose ColBERT scores are computed together: they take [rows, tokens, passages, tokens]."""


@dataclass(frozen=True, slots=True)
class TokenStates:
    """Texts as the encoder left them."""

    hidden: Tensor
    """[n, longest, dim]"""
    ids: Tensor
    """[n, longest] int64"""
    mask: Tensor
    """[n, longest] bool: where there is a token."""


class M3Loss(CachedLossMixin, nn.Module):  # type: ignore[misc]
    """Of queries, their passages and perhaps hard negatives: sentence-transformers' loss with BGE-M3's heads.

    The encoder runs over `mini_batch_size` texts at once (GradCache, Gao et al., arXiv:2101.06983), while the scores
    are those of the whole batch.
    """

    model: Any

    def __init__(self, model: Any, heads: BgeM3Heads, special_ids: Sequence[int], mini_batch_size: int) -> None:
        """`special_ids`: tokens that sparse vectors leave out."""
        super().__init__()
        self.model = model
        self.heads = heads
        self.mini_batch_size = mini_batch_size
        self._special_ids = tuple(special_ids)
        self._columns: list[tuple[Tensor, Tensor]] = []

    def forward(self, sentence_features: Iterable[Mapping[str, Any]], labels: Any = None) -> Tensor:
        features = [dict(column) for column in sentence_features]
        self._columns = [(column["input_ids"], column["attention_mask"].bool()) for column in features]
        if len(self._columns[0][0]) <= self.mini_batch_size:
            return self.calculate_loss([[self.model(column)["token_embeddings"]] for column in features])
        loss: Tensor = self.forward_cached(features, labels)  # type: ignore[operator]
        return loss

    def embed_minibatch(
        self,
        sentence_feature: Mapping[str, Any],
        begin: int,
        end: int,
        with_grad: bool,
        copy_random_state: bool,
        random_state: RandContext | None = None,
    ) -> tuple[Tensor, RandContext | None]:
        """As the mixin's own, but the hidden states [n, longest, dim] instead of one vector a text."""
        part = {
            name: value[begin:end] if isinstance(value, Tensor) else value for name, value in sentence_feature.items()
        }
        tensors = [value for value in part.values() if isinstance(value, Tensor)]
        if random_state is not None:
            with random_state, torch.set_grad_enabled(with_grad):
                return self.model(part)["token_embeddings"], None
        with torch.set_grad_enabled(with_grad):
            state = RandContext(*tensors) if copy_random_state else None
            return self.model(part)["token_embeddings"], state

    def calculate_loss(
        self, reps: Sequence[Sequence[Tensor]], labels: Any = None, *, with_backward: bool = False
    ) -> Tensor:
        columns = [
            TokenStates(torch.cat(list(hidden)).float(), ids, mask)
            for hidden, (ids, mask) in zip(reps, self._columns, strict=True)
        ]
        # Under autocast bfloat16 would round cosines to 1/256, and the temperature makes 50 times that of it.
        with torch.autocast(columns[0].hidden.device.type, enabled=False):
            loss = m3_loss(m3_scores(self.heads, columns[0], columns[1:], self._special_ids))
        if with_backward:
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach() if with_backward else loss


def m3_loss(scores: Mapping[str, Tensor]) -> Tensor:
    """Of scores [n, n or more] by kind, divided by their temperature; passage i answers query i."""
    labels = torch.arange(len(scores["dense"]), device=scores["dense"].device)
    total = sum_of(scores)
    contrast = {kind: cross_entropy(score, labels) for kind, score in scores.items()}
    found = (_weighted(contrast) + cross_entropy(total, labels)) / 4
    ranking = total.detach().softmax(dim=1)
    learned = _weighted({kind: cross_entropy(score, ranking) for kind, score in scores.items()}) / 3
    return (found + learned) / 2


def sum_of(scores: Mapping[str, Tensor]) -> Tensor:
    """The three kinds of scores in one."""
    return torch.stack([IN_SUM[kind] * scores[kind] for kind in IN_SUM]).sum(dim=0)


def m3_scores(
    heads: BgeM3Heads, queries: TokenStates, columns: Sequence[TokenStates], special_ids: Sequence[int]
) -> dict[str, Tensor]:
    """[n_queries, n_passages] by kind, over the passages of all `columns` in order."""
    parts = [
        {
            "dense": _dense(queries) @ _dense(passages).T,
            "sparse": sparse_scores(heads.sparse_linear, queries, passages, special_ids),
            "colbert": colbert_scores(heads.colbert_linear, queries, passages),
        }
        for passages in columns
    ]
    return {kind: torch.cat([part[kind] for part in parts], dim=1) / TEMPERATURE for kind in IN_SUM}


def sparse_scores(head: nn.Linear, queries: TokenStates, passages: TokenStates, special_ids: Sequence[int]) -> Tensor:
    """Inner products of the weights of equal tokens: [n_queries, n_passages]."""
    # Only ids that occur get a column: a vocabulary has hundreds of thousands.
    known = torch.unique(torch.cat([queries.ids.flatten(), passages.ids.flatten()]))
    special = torch.tensor(special_ids, device=known.device)
    return _weights(head, queries, known, special) @ _weights(head, passages, known, special).T


def colbert_scores(head: nn.Linear, queries: TokenStates, passages: TokenStates) -> Tensor:
    """Mean over a query's tokens of their best match among a passage's, without the first: [n_queries, n_passages]."""
    query_vectors, passage_vectors = _token_vectors(head, queries), _token_vectors(head, passages)
    query_mask, passage_mask = queries.mask[:, 1:], passages.mask[:, 1:]
    blocks = [
        _best_matches(query_vectors[rows], query_mask[rows], passage_vectors, passage_mask)
        for rows in torch.split(torch.arange(len(query_vectors), device=query_mask.device), ROWS_AT_ONCE)
    ]
    return torch.cat(blocks)


def _best_matches(queries: Tensor, query_mask: Tensor, passages: Tensor, passage_mask: Tensor) -> Tensor:
    similarities = torch.einsum("qid,pjd->qipj", queries, passages)
    best = similarities.masked_fill(~passage_mask, -1.0).max(dim=3).values
    return (best * query_mask[:, :, None]).sum(dim=1) / query_mask.sum(dim=1, keepdim=True)


def _dense(texts: TokenStates) -> Tensor:
    return normalize(texts.hidden[:, 0], dim=-1)


def _token_vectors(head: nn.Linear, texts: TokenStates) -> Tensor:
    return normalize(head(texts.hidden[:, 1:]), dim=-1)


def _weights(head: nn.Linear, texts: TokenStates, known: Tensor, special: Tensor) -> Tensor:
    """[n, n_known] the highest weight of each known id among its places in a text."""
    counted = texts.mask & ~torch.isin(texts.ids, special)
    weights = torch.relu(head(texts.hidden)).squeeze(-1) * counted
    places = torch.searchsorted(known, texts.ids)
    nothing = torch.zeros(len(weights), len(known), device=weights.device, dtype=weights.dtype)
    return nothing.scatter_reduce(1, places, weights, "amax")


def _weighted(losses: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([IN_LOSS[kind] * losses[kind] for kind in IN_LOSS]).sum()
