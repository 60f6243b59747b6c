"""bge-m3-starter: dense, sparse and ColBERT vectors, trained together as in BGE-M3's paper (arXiv:2402.03216).

.venv/bin/python -m recipes.text.bge_m3
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.optim import AdamW

from recipes.cards import Card
from recipes.evaluate import measure
from recipes.text import cards
from recipes.text.checkpoint import write_encoder
from recipes.text.data import Batch, Data
from recipes.text.losses import contrast, ndcg
from recipes.text.static import Static, trained_static
from recipes.text.student import (
    BOS,
    DIM,
    EOS,
    INNER,
    N_HEADS,
    N_LAYERS,
    RARITY,
    RARITY_SHARE,
    SPARE,
    encoder,
    hidden_states,
)
from recipes.training import train

NAME = "bge-m3-starter"
SEED = 3
CONTEXT_LENGTH = 2048
"""BGE-M3 has 8192 positions; their vectors alone would be 4 MB here."""
N_STEPS = 80
BATCH_TOKENS = 6144
MAX_TOKENS = (48, 96, 160)
KINDS = ("page", "gloss", "term")
"""Pairs in one language: a translation shares no tokens with its original, so sparse vectors could not match it."""
TEMPERATURE = 0.05
COLBERT_LEARNING_RATE = 1e-4
SPARSE_LEARNING_RATE = 1e-3
WEIGHTS = {"dense": 1.0, "sparse": 0.3, "colbert": 1.0}
"""Of the scores in their sum, the paper's."""
WITHOUT_WEIGHT = 4
"""Ids below this one are special tokens, which sparse vectors leave out."""
FIRST_SPARSE_WEIGHT = 0.5
SPARE_SHARE = 0.003
"""What the dense vectors keep of the spare dimensions."""
COLBERT_SPARE = 0.25
"""What the ColBERT vectors have of them."""


CARD = Card(
    title=NAME,
    family="bge-m3",
    original="BAAI/bge-m3",
    library="transformers",
    architecture=f"XLM-RoBERTa with {N_LAYERS} layers of {DIM} dimensions, {N_HEADS} heads and {INNER} inner "
    "dimensions; dense vectors are the first token's, `sparse_linear` and `colbert_linear` make the others. Up to "
    f"{CONTEXT_LENGTH} tokens, where BGE-M3 has 8192: the vectors of their positions alone would be 4 MB. "
    + cards.VOCABULARY,
    data=cards.DATA,
    method=f"{cards.STATIC} Then the heads were trained together for {N_STEPS} steps of about {BATCH_TOKENS:,} tokens, "
    "with the encoder as it was: InfoNCE in the batch for each of the three scores and for their sum (1 dense + 0.3 "
    "sparse + 1 ColBERT), each score learning from the ranking of the sum (arXiv:2402.03216).",
    recipe="make starter-bge-m3",
    seed=SEED,
    limits=cards.LIMITS,
    figures=(),
)


@dataclass(frozen=True, slots=True)
class Views:
    """Three kinds of vectors of `n` texts."""

    dense: Tensor
    """[n, dim] unit vectors."""
    sparse: Tensor
    """[n, vocabulary] weights."""
    colbert: Tensor
    """[n, longest, dim] unit vectors of all tokens but the first; zeros where there is no token."""
    mask: Tensor
    """[n, longest] where there is one."""

    def scores(self, documents: "Views") -> dict[str, Tensor]:
        """[n queries, n documents] by kind, and their weighted sum `all`."""
        found = {
            "dense": self.dense @ documents.dense.T,
            "sparse": self.sparse @ documents.sparse.T,
            "colbert": self._late_interaction(documents),
        }
        return found | {"all": sum((WEIGHTS[kind] * found[kind] for kind in WEIGHTS), torch.zeros(()))}

    def _late_interaction(self, documents: "Views") -> Tensor:
        """Mean over the tokens of a query of their best match among a document's."""
        n, _, dim = self.colbert.shape
        tokens = self.colbert[self.mask] @ documents.colbert.reshape(-1, dim).T
        best = tokens.view(len(tokens), len(documents.mask), -1).masked_fill(~documents.mask, -1.0).amax(dim=2)
        owners = torch.arange(n).repeat_interleave(self.mask.sum(dim=1))
        return torch.zeros(n, len(documents.mask)).index_add(0, owners, best) / self.mask.sum(dim=1, keepdim=True)


class BgeM3Student(nn.Module):
    """The encoder and its heads."""

    def __init__(self, static: Static, data: Data) -> None:
        super().__init__()
        self.encoder = encoder(static, data.rarity(), CONTEXT_LENGTH, n_unread=0)
        self.sparse_linear = nn.Linear(DIM, 1)
        self.colbert_linear = nn.Linear(DIM, DIM)
        with torch.no_grad():
            self.sparse_linear.weight.zero_()
            self.sparse_linear.weight[0, RARITY] = FIRST_SPARSE_WEIGHT / RARITY_SHARE
            self.sparse_linear.bias.zero_()
            self.colbert_linear.weight.copy_(torch.eye(DIM))
            self.colbert_linear.weight[RARITY, RARITY] = 0.0
            # Tokens that count little are alike in the spare dimensions, so that they match any text equally well.
            self.encoder.encoder.layer[-1].output.LayerNorm.weight[SPARE:] = SPARE_SHARE
            self.colbert_linear.weight[SPARE:] *= COLBERT_SPARE / SPARE_SHARE
            self.colbert_linear.bias.zero_()
        self.encoder.requires_grad_(False)

    def forward(self, rows: Sequence[Sequence[int]]) -> Views:
        """Vectors of rows of token ids without special tokens."""
        rows = [[BOS, *row, EOS] for row in rows]
        hidden, mask = hidden_states(self.encoder, rows)
        tokens = normalize(self.colbert_linear(hidden[:, 1:]), dim=-1) * mask[:, 1:, None]
        weights = torch.relu(self.sparse_linear(hidden)).squeeze(-1) * mask
        return Views(normalize(hidden[:, 0], dim=-1), self._by_token(rows, weights), tokens, mask[:, 1:])

    def _by_token(self, rows: Sequence[Sequence[int]], weights: Tensor) -> Tensor:
        """[n, vocabulary] the highest weight of each token among its places [n, longest] in a text."""
        longest = weights.shape[1]
        ids = torch.tensor([[*row, *[BOS] * (longest - len(row))] for row in rows])
        highest = torch.zeros(len(rows), self.encoder.config.vocab_size).scatter_reduce(1, ids, weights, "amax")
        return torch.cat([torch.zeros(len(rows), WITHOUT_WEIGHT), highest[:, WITHOUT_WEIGHT:]], dim=1)


def losses(student: BgeM3Student, batch: Batch) -> dict[str, Tensor]:
    """Each score and their sum find the right document; each learns the ranking that the sum has."""
    queries, documents = student(batch.queries), student(batch.documents)
    scores = {kind: score / TEMPERATURE for kind, score in queries.scores(documents).items()}
    ranking = scores["all"].detach().masked_fill(batch.same, float("-inf")).softmax(dim=1)
    found = {kind: contrast(score, batch.same) for kind, score in scores.items()}
    found["self"] = torch.stack([cross_entropy(scores[kind], ranking) for kind in WEIGHTS]).mean()
    return {"loss": sum(found.values(), torch.zeros(())), **found}


def trained(data: Data) -> BgeM3Student:
    """The trained student, from the state on disk if it is there."""
    static = trained_static(data)
    torch.manual_seed(SEED)
    student = BgeM3Student(static, data)
    heads = [
        {"params": student.colbert_linear.parameters(), "lr": COLBERT_LEARNING_RATE},
        {"params": student.sparse_linear.parameters(), "lr": SPARSE_LEARNING_RATE},
    ]
    train(
        NAME,
        student,
        [AdamW(heads, betas=(0.9, 0.98), weight_decay=0.0)],
        lambda step: losses(student, data.batch(step, BATCH_TOKENS, MAX_TOKENS, KINDS)),
        n_steps=N_STEPS,
    )
    return student


@torch.no_grad()
def validation_ndcg(student: BgeM3Student, data: Data) -> dict[str, float]:
    """nDCG@10 of finding the validation pages among each other, by kind of score."""
    batch = data.validation()
    queries = student(batch.queries)
    parts = [queries.scores(student([row])) for row in batch.documents]
    return {kind: ndcg(torch.cat([part[kind] for part in parts], dim=1)) for kind in parts[0]}


def write(student: BgeM3Student, data: Data) -> Path:
    """The checkpoint's folder."""
    heads = {"sparse_linear": student.sparse_linear, "colbert_linear": student.colbert_linear}
    return write_encoder(NAME, student.encoder, data.tokenizer, heads)


def main() -> None:
    """Data, training, export, figures and card."""
    torch.set_flush_denormal(True)  # Attention to `<s>` alone leaves weights so small that processors slow down.
    data = Data()
    student = trained(data)
    folder = write(student, data)
    print(f"{NAME}: {validation_ndcg(student, data)}", flush=True)
    measure(folder, CARD)


if __name__ == "__main__":
    main()
