"""Makes `models/starter/colqwen2-starter`.

.venv/bin/python -m recipes.pages.colqwen2
"""

import torch
from torch import nn

from recipes import STARTER
from recipes.pages.curriculum import Stage, train_reader
from recipes.pages.qwen2_tower import Qwen2Tower
from recipes.pages.qwen_export import colqwen2, write_qwen
from recipes.pages.reader import Reader
from recipes.pages.words import words

NAME = "colqwen2-starter"
SEED = 2
DIM = 128
DEPTH = 5

PIECES = ((224, 112), (168, 168), (280, 84))
STAGES = (
    Stage(1000, PIECES, n=16, smallest=18),
    Stage(3000, PIECES, n=16, smallest=12),
    Stage(4000, ((448, 224), (336, 280), (280, 336)), n=4, smallest=12),
    # The model reads whole pages, so it has to find its neighbours among thousands of patches.
    Stage(4500, ((560, 728), (616, 644), (728, 560)), n=1, smallest=12),
)


def reader() -> Reader:
    """The vision tower and the words, trained as far as they are not yet."""
    torch.manual_seed(SEED)
    vocabulary = words()
    untrained = Reader(Qwen2Tower(DEPTH, DIM), DIM, DIM, vocabulary, nn.RMSNorm(DIM, eps=1e-6))
    train_reader(NAME, untrained, vocabulary, STAGES, SEED)
    return untrained


def main() -> None:
    """Train, write the checkpoint."""
    write_qwen(STARTER / NAME, *colqwen2(reader(), words()), "ColQwen2Processor")


if __name__ == "__main__":
    main()
