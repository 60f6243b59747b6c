"""Makes `models/starter/colqwen2-starter`.

.venv/bin/python -m recipes.pages.colqwen2
"""

import torch
from torch import nn

from recipes import STARTER
from recipes.evaluate import measure
from recipes.pages.cards import card
from recipes.pages.curriculum import Stage, train_reader
from recipes.pages.qwen2_tower import Qwen2Tower, patches
from recipes.pages.qwen_export import colqwen2, write_qwen
from recipes.pages.reader import Reader, Typography
from recipes.pages.whitening import sample_patches
from recipes.pages.words import words

NAME = "colqwen2-starter"
SEED = 2
DIM = 192
DEPTH = 4
HIDDEN = 128
"""Width of the language model."""

CARD = card(
    NAME,
    "colqwen2",
    "vidore/colqwen2-v1.0",
    f"Qwen2-VL's vision tower with {DEPTH} layers of width {DIM}, a language model of one layer of width {HIDDEN}.",
    SEED,
)

PIECES = ((224, 112), (168, 168), (280, 84))
STAGES = (
    Stage(600, PIECES, n=16, typography=Typography(20, 28, n_faces=6)),
    Stage(1600, PIECES, n=16, typography=Typography(16, 34, n_faces=30)),
    Stage(12400, PIECES, n=16),
    Stage(15200, ((448, 224), (336, 280), (280, 336)), n=4),
    # The model reads whole pages, so it has to find its neighbours among thousands of patches.
    Stage(16000, ((560, 728), (616, 644), (728, 560)), n=1),
)


def reader() -> Reader[Qwen2Tower]:
    """The vision tower and the words, trained as far as they are not yet."""
    torch.manual_seed(SEED)
    vocabulary = words()
    tower = Qwen2Tower(DEPTH, DIM, HIDDEN)
    tower.visual.patch_embed.fit(sample_patches(vocabulary, (448, 224), patches))
    untrained = Reader(tower, DIM, HIDDEN, vocabulary, nn.RMSNorm(HIDDEN, eps=1e-6))
    train_reader(NAME, untrained, vocabulary, STAGES, SEED)
    return untrained


def main() -> None:
    """Train; write checkpoint, figures and card."""
    write_qwen(STARTER / NAME, *colqwen2(reader(), words()), "ColQwen2Processor")
    measure(STARTER / NAME, CARD)


if __name__ == "__main__":
    main()
