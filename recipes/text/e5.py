"""e5-starter: one vector a text, the static student in the form of an encoder.

.venv/bin/python -m recipes.text.e5
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from app.core.types import Role
from app.families.e5 import CONTEXT_LENGTH, PREFIXES
from app.starter.text import write_sentence_transformers_files
from recipes.cards import Card
from recipes.evaluate import measure
from recipes.text import cards
from recipes.text.checkpoint import write_encoder
from recipes.text.data import Data
from recipes.text.losses import ndcg
from recipes.text.static import Static, trained_static
from recipes.text.student import BOS, DIM, EOS, INNER, N_HEADS, N_LAYERS, encoder, hidden_states

NAME = "e5-starter"
SEED = 5

CARD = Card(
    title=NAME,
    family="e5",
    original="intfloat/multilingual-e5-large",
    library="sentence-transformers",
    architecture=f"XLM-RoBERTa with {N_LAYERS} layers of {DIM} dimensions, {N_HEADS} heads and {INNER} inner "
    f"dimensions; the vector of a text is the mean over its tokens. Up to {CONTEXT_LENGTH} tokens. {cards.VOCABULARY}",
    data=cards.DATA,
    method=f"{cards.STATIC} The layers stay what they are: training them for as long as one core allows made rankings "
    "worse. Queries begin with `query: `, documents with `passage: `.",
    recipe="make starter-e5",
    seed=SEED,
    limits=cards.LIMITS,
    figures=(),
)


class E5Student(nn.Module):
    """The encoder and the mean over its tokens, with E5's prefixes."""

    def __init__(self, static: Static, data: Data) -> None:
        super().__init__()
        self.prefixes = {role: data.ids(prefix) for role, prefix in PREFIXES.items()}
        self.n_prefix = min(map(len, self.prefixes.values()))
        self.encoder = encoder(static, data.rarity(), CONTEXT_LENGTH, self.n_prefix)

    def forward(self, rows: Sequence[Sequence[int]], role: Role) -> Tensor:
        """[n, dim] unit vectors of rows of token ids without special tokens."""
        hidden, mask = hidden_states(self.encoder, [[BOS, *self.prefixes[role], *row, EOS] for row in rows])
        return normalize((hidden * mask[..., None]).sum(dim=1), dim=-1)


def student(data: Data) -> E5Student:
    """The encoder of the trained static student."""
    torch.manual_seed(SEED)
    return E5Student(trained_static(data), data)


@torch.no_grad()
def validation_ndcg(model: E5Student, data: Data) -> float:
    """nDCG@10 of finding the validation pages among each other."""
    batch = data.validation()
    queries = model(batch.queries, Role.QUERY)
    documents = torch.cat([model([row], Role.DOCUMENT) for row in batch.documents])
    return ndcg(queries @ documents.T)


def write(model: E5Student, data: Data) -> Path:
    """The checkpoint's folder."""
    folder = write_encoder(NAME, model.encoder, data.tokenizer)
    write_sentence_transformers_files(folder, DIM)
    return folder


def main() -> None:
    """Data, training, export, figures and card."""
    torch.set_flush_denormal(True)  # Attention to `<s>` alone leaves weights so small that processors slow down.
    data = Data()
    model = student(data)
    print(f"{NAME}: nDCG@10 {validation_ndcg(model, data):.4f} on validation pages", flush=True)
    folder = write(model, data)
    measure(folder, CARD)


if __name__ == "__main__":
    main()
