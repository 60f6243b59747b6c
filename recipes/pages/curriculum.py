"""The order in which a reader learns: large letters on small pieces of pages first, whole pages at the end."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

import numpy as np
import torch
from torch import Tensor

from recipes.pages.page import Page
from recipes.pages.reader import AnyTower, Reader, Typography, snippets
from recipes.pages.words import Words
from recipes.training import optimizers, train

DECAY = 0.9
"""Share of the steps in which the rates fall: reading gets better as soon as they do."""

N_AHEAD = 4
"""Steps whose pages are drawn beforehand, by another process."""


@dataclass(frozen=True, slots=True)
class Rates:
    """The highest learning rates."""

    adam: float = 3e-3
    muon: float = 8e-3
    weight_decay: float = 0.01


FROM_SCRATCH = Rates()


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


def train_reader(
    name: str,
    reader: Reader[AnyTower],
    words: Words,
    stages: Sequence[Stage],
    seed: int,
    rates: Rates = FROM_SCRATCH,
) -> None:
    """Train in place; goes on where an earlier call under this name stopped."""
    n_steps = stages[-1].until
    found = optimizers(reader, lr=rates.adam, muon_lr=rates.muon, weight_decay=rates.weight_decay)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        pages = _Ahead(lambda number: process.submit(_pages, words, stages, seed, number), n_steps)

        def step(number: int) -> Mapping[str, Tensor]:
            # For the towers that place a piece at random.
            torch.manual_seed(seed + number)
            return reader.losses(pages(number))

        train(f"{name}-reader", reader, found, step, n_steps=n_steps, warmup=0.01, decay=DECAY)


def _pages(words: Words, stages: Sequence[Stage], seed: int, number: int) -> list[Page]:
    """Of this step, whichever process draws them."""
    random = np.random.default_rng((seed, number))
    stage = next(stage for stage in stages if number < stage.until)
    size = stage.sizes[random.integers(len(stage.sizes))]
    return snippets(random, words, stage.n, size, stage.typography)


class _Ahead:
    """Pages by step, asked for a few steps before they are needed."""

    def __init__(self, start: Callable[[int], "Future[list[Page]]"], n_steps: int) -> None:
        self._start = start
        self._n_steps = n_steps
        self._started: dict[int, Future[list[Page]]] = {}

    def __call__(self, number: int) -> list[Page]:
        for later in range(number, min(number + N_AHEAD, self._n_steps)):
            if later not in self._started:
                self._started[later] = self._start(later)
        return self._started.pop(number).result()
