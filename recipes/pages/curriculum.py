"""The order in which a reader learns: large letters on small pieces of pages first, whole pages at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from recipes.pages.reader import AnyTower, Reader, Typography, snippets
from recipes.pages.words import Words
from recipes.training import optimizers, train

LEARNING_RATE, MUON_LEARNING_RATE = 3e-3, 8e-3
DECAY = 0.9
"""Share of the steps in which the rates fall: reading gets better as soon as they do."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the training, on pieces of pages of these sizes."""

    until: int
    """Its last step + 1."""
    sizes: tuple[tuple[int, int], ...]
    """Width and height in pixels; multiples of the side of a visual token."""
    n: int
    """Pieces a step."""
    typography: Typography = field(default_factory=Typography)


def train_reader(name: str, reader: Reader[AnyTower], words: Words, stages: Sequence[Stage], seed: int) -> None:
    """Train in place; goes on where an earlier call under this name stopped."""

    def step(number: int) -> Mapping[str, Tensor]:
        random = np.random.default_rng((seed, number))
        # For the towers that place a piece at random.
        torch.manual_seed(int(random.integers(2**62)))
        stage = next(stage for stage in stages if number < stage.until)
        size = stage.sizes[random.integers(len(stage.sizes))]
        return reader.losses(snippets(random, words, stage.n, size, stage.typography))

    rates = optimizers(reader, lr=LEARNING_RATE, muon_lr=MUON_LEARNING_RATE)
    train(f"{name}-reader", reader, rates, step, n_steps=stages[-1].until, warmup=0.01, decay=DECAY)
