"""First part of the training: the vision tower learns to read, token by token, from what the renderer knows.

A visual token's vector is classified among the vectors of all words (cross entropy over cosines, as MaxSim will
compare them). The language model takes no part yet: it starts as the identity, so what is learned here is the
checkpoint's input of the second part.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from recipes.pages.drawing import Page, Renderer, random_style
from recipes.pages.fonts import faces
from recipes.pages.labels import BACKGROUND, labels
from recipes.pages.spelling import Spelling
from recipes.pages.words import Words

SCALE = 20.0
"""Of cosines before the softmax."""

BACKGROUND_WEIGHT = 0.15
DIM = 128
FILTERS = (2, 3, 3, 1)  # Pillow's bilinear, bicubic, Lanczos.

Tower = Callable[[Tensor], Tensor]
"""Pixels [n, 3, height, width] -> features [n * n_tokens, hidden], pages one after the other in row-major order."""


class Reader(nn.Module):
    """Vision tower, projection and the words that it tells apart."""

    def __init__(self, tower: nn.Module, hidden: int, words: Words, norm: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.norm = norm
        """The language model's last one."""
        self.projection = nn.Linear(hidden, DIM)
        self.spelling = Spelling(words.drawn, hidden)
        self.background = nn.Parameter(torch.randn(hidden))
        self.classes = {word: index + 1 for index, word in enumerate(words.drawn)}

    def words(self) -> Tensor:
        """Unit vectors of the classes [n_classes, DIM], the background's first."""
        return self.project(torch.cat((self.background[None], self.spelling())))

    def project(self, hidden: Tensor) -> Tensor:
        return normalize(self.projection(self.norm(hidden)), dim=-1)

    def losses(self, pages: Sequence[Page], side: int) -> Mapping[str, Tensor]:
        """Of pages of one size whose tokens are squares of `side` pixels."""
        width, height = pages[0].image.size
        columns, rows = width // side, height // side
        found = [labels(page.marks, self.classes, columns, rows, side) for page in pages]
        tokens = torch.from_numpy(np.concatenate([each.tokens + i * rows * columns for i, each in enumerate(found)]))
        kinds = torch.from_numpy(np.concatenate([each.classes for each in found]))
        weights = torch.from_numpy(np.concatenate([each.weights for each in found]))
        vectors = self.project(self.tower(pixels(pages)))
        logits = SCALE * vectors @ self.words().T
        weights = torch.where(kinds == BACKGROUND, BACKGROUND_WEIGHT * weights, weights)
        loss = -(logits.log_softmax(-1)[tokens, kinds] * weights).sum() / weights.sum()
        with torch.no_grad():
            text = kinds != BACKGROUND
            right = torch.zeros(len(logits), dtype=torch.bool)
            best = logits.argmax(-1)
            right[tokens[text]] = False
            right[tokens[text][best[tokens[text]] == kinds[text]]] = True
            read = right[tokens[text].unique()].float().mean()
        return {"loss": loss, "read": read}


def pixels(pages: Sequence[Page]) -> Tensor:
    """[n, 3, height, width] from 0 to 255, float32."""
    return torch.from_numpy(np.stack([np.asarray(page.image) for page in pages])).permute(0, 3, 1, 2).float()


def snippets(random: np.random.Generator, words: Words, n: int, size: tuple[int, int], smallest: float) -> list[Page]:
    """Pieces of pages as the model would see them after its resizing; letters of `smallest` to 40 pixels an em."""
    return [_snippet(random, words, size, smallest) for _ in range(n)]


def _snippet(random: np.random.Generator, words: Words, size: tuple[int, int], smallest: float) -> Page:
    # Rendered larger or smaller and resized, because real pages are: the letters are blurred as theirs.
    scale = float(random.uniform(0.8, 1.8))
    em = float(np.exp(random.uniform(np.log(smallest), np.log(40))))
    style = random_style(random, faces(), max(8, round(em * scale)))
    drawn = (round(size[0] * scale), round(size[1] * scale))
    page = Renderer(random, words, style, drawn).fill(int(random.integers(2, 12)), 1)
    return page.resized(*size, FILTERS[random.integers(len(FILTERS))])  # type: ignore[arg-type]
