"""BGE-M3: a dense, a sparse and a multi-vector embedding from one pass (Chen et al., arXiv:2402.03216).

The reference is FlagEmbedding's `BGEM3FlagModel`, whose arithmetic this follows.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from app.core.errors import ModelLoadError
from app.core.types import Embedding, FloatArray, IntArray, MultiVectorEmbedding, Output, SparseEmbedding, TextInput
from app.families.base import Checkpoint, LoadOptions, Prepared
from app.families.catalog import CATALOG
from app.families.text_encoder import ServedEncoder, TextEncoderModel, max_tokens, open_served
from app.families.text_tokenizer import TextTokenizer
from app.families.torch_model import to_numpy

CONTEXT_LENGTH = 8192

WITHOUT_WEIGHT = ("cls_token", "eos_token", "pad_token", "unk_token")
"""Special tokens that a sparse embedding leaves out, as FlagEmbedding does."""


class BgeM3Heads(nn.Module):
    """What makes the sparse and the ColBERT vectors of the encoder's hidden states."""

    def __init__(self, sparse_linear: nn.Linear, colbert_linear: nn.Linear) -> None:
        super().__init__()
        self.sparse_linear = sparse_linear
        self.colbert_linear = colbert_linear


class BgeM3Model(TextEncoderModel):
    """BAAI/bge-m3 and its fine-tunes, from files whose pickles were converted to safetensors."""

    spec = CATALOG["bge-m3"]
    module: BgeM3Heads

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        heads = BgeM3Heads(
            sparse_linear=load_head(checkpoint, "sparse_linear", options),
            colbert_linear=load_head(checkpoint, "colbert_linear", options),
        )
        encoder = open_served(cls.spec, checkpoint, options)
        limit = max_tokens(encoder.config, CONTEXT_LENGTH)
        return cls(encoder, heads, options, limit, TextTokenizer.load(checkpoint, limit))

    def __init__(
        self, encoder: ServedEncoder, heads: BgeM3Heads, options: LoadOptions, max_tokens: int, tokenizer: TextTokenizer
    ) -> None:
        super().__init__(encoder, heads, options, max_tokens, tokenizer)
        self._without_weight = tokenizer.ids_of(WITHOUT_WEIGHT)

    def prompt(self, item: TextInput) -> str:
        return item.text

    def forward_batch(self, batch: Sequence[Prepared]) -> list[Embedding]:
        hidden = self.hidden_states(batch)
        dense = self._dense(batch, hidden)
        sparse = self._sparse(batch, hidden)
        multi_vector = self._multi_vector(batch, hidden)
        return [
            Embedding(
                n_tokens=item.n_tokens,
                truncated=item.truncated,
                dense=dense.get(index),
                sparse=sparse.get(index),
                multi_vector=multi_vector.get(index),
            )
            for index, item in enumerate(batch)
        ]

    def _dense(self, batch: Sequence[Prepared], hidden: Sequence[Tensor]) -> dict[int, FloatArray]:
        """By index of the input, for those that want it: the first token's hidden state, normalized."""
        wanting = _wanting(batch, Output.DENSE)
        if not wanting:
            return {}
        first = torch.stack([hidden[index][0] for index in wanting])
        return dict(zip(wanting, to_numpy(normalize(first, dim=-1)), strict=True))

    def _sparse(self, batch: Sequence[Prepared], hidden: Sequence[Tensor]) -> dict[int, SparseEmbedding]:
        """For those that want it: a weight for each of their vocabulary ids."""
        rows = {index: hidden[index] for index in _wanting(batch, Output.SPARSE)}
        weights = _computed_together(lambda tokens: torch.relu(self.module.sparse_linear(tokens)), rows)
        return {
            index: self._sparse_embedding(batch[index].inputs["input_ids"].numpy(), row_weights[:, 0])
            for index, row_weights in weights.items()
        }

    def _sparse_embedding(self, token_ids: IntArray, weights: FloatArray) -> SparseEmbedding:
        """`token_ids` [n_tokens] and their `weights` [n_tokens]; an id that occurs twice keeps its highest weight."""
        unique_ids, positions = np.unique(token_ids, return_inverse=True)
        highest = np.zeros(len(unique_ids), dtype=np.float32)
        np.maximum.at(highest, positions, weights)
        kept = (highest > 0) & ~np.isin(unique_ids, self._without_weight)
        ids = unique_ids[kept]
        return SparseEmbedding(ids, highest[kept], tuple(map(self.tokenizer.token_text, ids.tolist())))

    def _multi_vector(self, batch: Sequence[Prepared], hidden: Sequence[Tensor]) -> dict[int, MultiVectorEmbedding]:
        """For those that want it: a unit vector for each token but the first; the last one is the closing `</s>`."""
        rows = {index: hidden[index][1:] for index in _wanting(batch, Output.MULTI_VECTOR)}
        vectors = _computed_together(lambda tokens: normalize(self.module.colbert_linear(tokens), dim=-1), rows)
        return {
            index: MultiVectorEmbedding(row_vectors, batch[index].inputs["pieces"])
            for index, row_vectors in vectors.items()
        }


def load_head(checkpoint: Checkpoint, name: str, options: LoadOptions) -> nn.Linear:
    """The linear layer in `{name}.safetensors`, which computes in float32 whatever the encoder does.

    An adapter may have trained its own; else it is its base's.
    """
    file = _head_file(checkpoint, name)
    if not file.is_file():
        raise ModelLoadError(
            f"BGE-M3 needs {file.name} beside its weights. The hub offers it as a pickle ({name}.pt), which "
            "is never loaded here: convert it once with `python -m app models convert NAME`."
        )
    try:
        weights = load_file(file)
        outputs, inputs = weights["weight"].shape
        with torch.device("meta"):
            head = nn.Linear(inputs, outputs)
        head.load_state_dict(weights, assign=True)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ModelLoadError(f"The checkpoint's {file.name} holds no linear layer (weight, bias).") from error
    return head.to(options.device, torch.float32).requires_grad_(False)


def _head_file(checkpoint: Checkpoint, name: str) -> Path:
    own = checkpoint.path / f"{name}.safetensors"
    return own if checkpoint.base is None or own.is_file() else checkpoint.base / own.name


def _wanting(batch: Sequence[Prepared], output: Output) -> list[int]:
    """Indices of the inputs that ask for `output`."""
    return [index for index, item in enumerate(batch) if output in item.outputs]


def _computed_together(function: Callable[[Tensor], Tensor], rows: dict[int, Tensor]) -> dict[int, FloatArray]:
    """Apply a function of single rows to all [n_i, dim] at once: one pass, one transfer, no padding."""
    if not rows:
        return {}
    results = to_numpy(function(torch.cat(list(rows.values()))))
    ends = np.cumsum([len(part) for part in rows.values()])
    return dict(zip(rows, np.split(results, ends[:-1]), strict=True))
