"""Patches of pages in coordinates that are uncorrelated and equally large, which a first layer learns from fastest.

Pixels of pages are nearly all white, and neighbours nearly equal: in raw pixels a few directions are thousands of
times as large as those that tell letters apart. The change of coordinates is linear, so that the finished model has it
in its patch embedding.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from recipes.pages.page import Page
from recipes.pages.reader import Typography, pixels, snippets
from recipes.pages.words import Words
from recipes.whitening import whitened_directions

N_PAGES = 48
N_DIRECTIONS = 256
"""Of a patch; the rest has less than a hundredth of the variance."""

SOFTENING = 1e-3
"""As `whitened_directions` takes it: what is weaker is noise."""


class WhitenedPatches(nn.Module):
    """Patch embedding [..., n_pixels] -> [..., dim] without a bias, on whitened pixels."""

    basis: Tensor
    """[n_pixels, N_DIRECTIONS]."""

    def __init__(self, n_pixels: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("basis", torch.eye(n_pixels)[:, :N_DIRECTIONS].clone())
        self.embedding = nn.Linear(N_DIRECTIONS, dim, bias=False)
        nn.init.trunc_normal_(self.embedding.weight, std=N_DIRECTIONS**-0.5)

    @torch.no_grad()
    def fit(self, patches: Tensor) -> None:
        """Take the directions from these patches [n, n_pixels]."""
        moment = patches.T @ patches / len(patches)
        self.basis.copy_(whitened_directions(moment.double(), N_DIRECTIONS, SOFTENING))

    def forward(self, patches: Tensor) -> Tensor:
        embedded: Tensor = self.embedding(patches @ self.basis)
        # What the layers add up stays in full precision.
        return embedded.float()

    def kernel(self) -> Tensor:
        """The same on pixels as they are: [dim, n_pixels]."""
        return self.embedding.weight @ self.basis.T


def sample_patches(words: Words, size: tuple[int, int], to_patches: Callable[[Tensor], Tensor]) -> Tensor:
    """Patches of some pieces of pages; always the same ones."""
    pages: list[Page] = snippets(np.random.default_rng(0), words, N_PAGES, size, Typography())
    return to_patches(pixels(pages))
