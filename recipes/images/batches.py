"""What each step of the training sees, drawn by another process while the steps before it are computed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from recipes.images.collection import training_collages, training_pictures
from recipes.images.views import Change, Views, as_values, random_views

N_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Stage:
    """Part of the training."""

    until: int
    """Its last step + 1."""
    sizes: tuple[tuple[int, int], ...]
    """Height and width of views in pixels; one a step for the first views and one for the second."""
    n_pictures: int
    """A step, without collages."""
    n_collages: int
    first: Change
    """Of the first views: about what lies in a gallery."""
    second: tuple[Change, ...]
    """Of equal parts of the second views: about what is searched with."""

    @property
    def halved(self) -> bool:
        """Whether views are so small that they are drawn from pictures of half the side."""
        return max(max(size) for size in self.sizes) <= 112


Batch = tuple[Views, Views]
"""A first and a second view of each picture, collages last."""


class Batches(Dataset[Batch]):
    """Batches by step."""

    def __init__(self, stages: Sequence[Stage], seed: int) -> None:
        self.stages = stages
        self.seed = seed

    def __getitem__(self, number: int) -> Batch:
        torch.manual_seed(self.seed + number)
        random = np.random.default_rng((self.seed, number))
        stage = next(stage for stage in self.stages if number < stage.until)
        collages = chosen(training_collages(), random, stage.n_collages, halved=stage.halved)
        pictures = chosen(training_pictures(), random, stage.n_pictures, halved=stage.halved)
        values, pasted = torch.cat([pictures, collages[:, :3]]), collages[:, 3]
        sizes = [stage.sizes[int(random.integers(len(stage.sizes)))] for _ in range(2)]
        first = random_views(values, *sizes[0], (stage.first,), pasted)
        return first, random_views(values, *sizes[1], stage.second, pasted)

    def __len__(self) -> int:
        return self.stages[-1].until


class Ahead:
    """Batches by step, for steps in their order."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._started: Iterator[Batch] | None = None

    def __call__(self, number: int) -> Batch:
        """`number` may begin anywhere, as a resumed training does."""
        if self._started is None:
            order = range(number, len(self._batches))
            self._started = iter(
                DataLoader(
                    self._batches,
                    batch_size=None,
                    sampler=order,
                    num_workers=1,
                    prefetch_factor=N_AHEAD,
                    multiprocessing_context="spawn",
                )
            )
        return next(self._started)


def chosen(pictures: np.typing.NDArray[np.uint8], random: np.random.Generator, n: int, *, halved: bool) -> Tensor:
    """Values [n, channels, side, side] of `n` different pictures, in random order."""
    # Sorted for the disk, then shuffled: else each change would always get the same pictures.
    numbers = np.sort(random.choice(len(pictures), n, replace=False))
    return as_values(torch.from_numpy(pictures[numbers][random.permutation(n)]), halved=halved)
