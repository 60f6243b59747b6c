"""e5-starter: one vector a text, taught by all-MiniLM-L6-v2 and by pairs of texts.

.venv/bin/python -m recipes.text.e5
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from app.core.types import Role
from app.families.e5 import CONTEXT_LENGTH, PREFIXES
from recipes.text.data import Batch, Data
from recipes.text.losses import agreement, contrast, likeness, ndcg
from recipes.text.static import DIM as STATIC_DIM
from recipes.text.static import Static, trained_static
from recipes.text.student import BOS, EOS, encoder, hidden_states
from recipes.training import optimizers, train

NAME = "e5-starter"
SEED = 5
N_STEPS = 700
BATCH_TOKENS = 8192
MAX_TOKENS = (48, 96, 160)
TEMPERATURE = 0.05
LEARNING_RATE = 3e-4
MUON_LEARNING_RATE = 2e-3


class E5Student(nn.Module):
    """The encoder and the mean over its tokens, with E5's prefixes."""

    def __init__(self, static: Static, data: Data) -> None:
        super().__init__()
        self.encoder = encoder(static, data.rarity(), CONTEXT_LENGTH)
        self.prefixes = {role: data.ids(prefix) for role, prefix in PREFIXES.items()}

    def forward(self, rows: Sequence[Sequence[int]], role: Role) -> Tensor:
        """[n, dim] unit vectors of rows of token ids without special tokens."""
        hidden, mask = hidden_states(self.encoder, [[BOS, *self.prefixes[role], *row, EOS] for row in rows])
        return normalize((hidden * mask[..., None]).sum(dim=1), dim=-1)


def losses(student: E5Student, static: Static, batch: Batch) -> dict[str, Tensor]:
    """The sum of three losses, and each of them."""
    queries, documents = student(batch.queries, Role.QUERY), student(batch.documents, Role.DOCUMENT)
    scores = queries @ documents.T / TEMPERATURE
    found = {
        "contrast": contrast(scores, batch.same),
        "agreement": agreement(scores, batch),
        "likeness": likeness(queries[:, :STATIC_DIM], batch.query_targets @ static.projection)
        + likeness(documents[:, :STATIC_DIM], batch.document_targets @ static.projection),
    }
    return {"loss": sum(found.values(), torch.zeros(())), **found}


def trained(data: Data) -> E5Student:
    """The trained student, from the state on disk if it is there."""
    static = trained_static(data)
    torch.manual_seed(SEED)
    student = E5Student(static, data)
    print(f"{NAME}: nDCG@10 {validation_ndcg(student, data):.4f} on validation pages before", flush=True)
    train(
        NAME,
        student,
        optimizers(student, lr=LEARNING_RATE, muon_lr=MUON_LEARNING_RATE),
        lambda step: losses(student, static, data.batch(step, BATCH_TOKENS, MAX_TOKENS)),
        n_steps=N_STEPS,
    )
    print(f"{NAME}: nDCG@10 {validation_ndcg(student, data):.4f} on validation pages", flush=True)
    return student


@torch.no_grad()
def validation_ndcg(student: E5Student, data: Data) -> float:
    """nDCG@10 of finding the validation pages among each other."""
    batch = data.validation()
    queries = student(batch.queries, Role.QUERY)
    documents = torch.cat([student([row], Role.DOCUMENT) for row in batch.documents])
    return ndcg(queries @ documents.T)
