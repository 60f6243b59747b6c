"""A student without layers: a text is the sum of its tokens' vectors, of which the first count most.

The students' embeddings are made of them. The vectors begin as what the teacher says of each piece of the vocabulary,
less where the piece is frequent (Arora et al. 2017, "A simple but tough-to-beat baseline for sentence embeddings";
Model2Vec), and are then trained as a whole, which is cheap: no layer is computed.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.optim import AdamW

from app.starter.vocabulary import SPECIAL_TOKENS, WORD_START
from recipes.text.data import Batch, Data
from recipes.text.losses import agreement, contrast, likeness, ndcg
from recipes.text.teacher import teacher_vectors
from recipes.training import train

DIM = 252
SEED = 1
N_STEPS = 1200
BATCH_TOKENS = 65_536
MAX_TOKENS = (32, 64, 128, 256)
TEMPERATURE = 0.05
HALF_AT = 20.0
"""The position at which a token counts half of what it counts at the beginning."""
DROPPED = 0.25
"""Of the tokens of a text, so that it is not known by a single one."""
LEARNING_RATE = 2e-3
SIF = 1e-3


class Static(nn.Module):
    """One vector a token, and the map from the teacher's space to theirs."""

    projection: Tensor

    def __init__(self, data: Data) -> None:
        super().__init__()
        self.register_buffer("projection", principal_axes(data.teacher))
        self.tokens = nn.Parameter(self._initial(data))

    def forward(self, rows: list[list[int]]) -> Tensor:
        """[n, DIM] unit vectors of rows of token ids."""
        ids = torch.tensor([token for row in rows for token in row])
        numbers = torch.arange(len(rows)).repeat_interleave(torch.tensor([len(row) for row in rows]))
        weights = torch.cat([damping(len(row)) for row in rows])
        if self.training:
            weights = weights * (torch.rand(len(ids)) >= DROPPED)
        # A product with counts is several times faster than the backward pass of `embedding_bag`.
        distinct, columns = torch.unique(ids, return_inverse=True)
        counts = torch.zeros(len(rows), len(distinct)).index_put_((numbers, columns), weights, accumulate=True)
        return normalize(counts @ self.tokens[distinct], dim=-1)

    def _initial(self, data: Data) -> Tensor:
        pieces = data.tokenizer.convert_ids_to_tokens(range(len(data.tokenizer)))
        vectors = torch.from_numpy(teacher_vectors([piece.replace(WORD_START, "") for piece in pieces])).float()
        vectors = vectors - vectors.mean(dim=0)
        rarity = torch.from_numpy(SIF / (SIF + data.frequencies())).float()
        initial = vectors @ self.projection * rarity[:, None]
        initial[: len(SPECIAL_TOKENS)] = 0
        return initial


def damping(n_positions: int) -> Tensor:
    """[n_positions] what a token counts at its place: texts say first what they are about."""
    return 1 / (1 + torch.arange(n_positions) / HALF_AT)


def principal_axes(vectors: np.ndarray) -> Tensor:
    """[384, DIM] the directions in which the teacher's vectors lie."""
    sample = vectors.astype(np.float32)
    _, axes = np.linalg.eigh(sample.T @ sample)
    return torch.from_numpy(np.ascontiguousarray(axes[:, ::-1][:, :DIM]))


def trained_static(data: Data) -> Static:
    """The trained one, from the state on disk if it is there."""
    torch.manual_seed(SEED)
    student = Static(data)
    print(f"static: nDCG@10 {validation_ndcg(student, data):.4f} on validation pages, untrained", flush=True)

    def step(number: int) -> dict[str, Tensor]:
        torch.manual_seed(number)
        return static_losses(student, data.batch(number, BATCH_TOKENS, MAX_TOKENS))

    train("text-static", student, [AdamW([student.tokens], lr=LEARNING_RATE, weight_decay=0.0)], step, n_steps=N_STEPS)
    print(f"static: nDCG@10 {validation_ndcg(student, data):.4f} on validation pages", flush=True)
    return student


def static_losses(student: Static, batch: Batch) -> dict[str, Tensor]:
    """The sum of three losses, and each of them."""
    queries, documents = student(batch.queries), student(batch.documents)
    scores = queries @ documents.T / TEMPERATURE
    found = {
        "contrast": contrast(scores, batch.same),
        "agreement": agreement(scores, batch),
        "likeness": likeness(queries, batch.query_targets @ student.projection)
        + likeness(documents, batch.document_targets @ student.projection),
    }
    return {"loss": sum(found.values(), torch.zeros(())), **found}


@torch.no_grad()
def validation_ndcg(student: Static, data: Data) -> float:
    """nDCG@10 of finding the validation pages among each other."""
    batch = data.validation()
    student.eval()
    scores = student(batch.queries) @ student(batch.documents).T
    student.train()
    return ndcg(scores)
