"""A vision tower learns to read, token by token, from what the renderer knows.

A visual token's vector is classified among the vectors of all words (cross entropy over cosines, as MaxSim will
compare them). The language model takes no part: in the checkpoint it is the identity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Generic, TypeVar

import numpy as np
import torch
from PIL.Image import Resampling
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from recipes.pages.drawing import Renderer
from recipes.pages.fonts import faces
from recipes.pages.labels import BACKGROUND, labels
from recipes.pages.page import Mark, Page
from recipes.pages.spelling import N_FEATURES, Spelling
from recipes.pages.style import random_style
from recipes.pages.words import Words
from recipes.precision import fast_bfloat16

SCALE = 20.0
"""Of cosines before the softmax."""

BACKGROUND_WEIGHT = 0.15
SPELLING_WEIGHT = 20.0
"""Of a mean over some thousand features, most of which a word does not have."""
DIM = 128
FILTERS = (Resampling.BILINEAR, Resampling.BICUBIC, Resampling.BICUBIC, Resampling.LANCZOS)

LETTERS = {letter: index + 1 for index, letter in enumerate(ascii_lowercase)}


class Tower(nn.Module):
    """A vision tower on whole batches of pages of one size."""

    token_side: int
    """Pixels of a page across one visual token."""
    patch_side: int

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels [n, 3, height, width] from 0 to 255 -> features of tokens and, from a layer in the middle, of patches.

        [n * n_tokens, hidden] and [n * n_patches, width], both pages after pages in row-major order.
        """
        raise NotImplementedError


AnyTower = TypeVar("AnyTower", bound=Tower)


class Reader(nn.Module, Generic[AnyTower]):
    """Vision tower, projection and the words that it tells apart.

    Three losses, from easy to hard, without the first two of which it does not begin to read: which letters lie on a
    patch, how the word on a token is spelled, which word it is.
    """

    tower: AnyTower

    def __init__(
        self,
        tower: AnyTower,
        width: int,
        hidden: int,
        words: Words,
        norm: nn.RMSNorm,
        spelling_weight: float = SPELLING_WEIGHT,
    ) -> None:
        super().__init__()
        self.tower = tower
        self.spelling_weight = spelling_weight
        self.norm = norm
        """The language model's last one."""
        self.projection = nn.Linear(hidden, DIM)
        self.spelling = Spelling(words.drawn, hidden)
        self.background = nn.Parameter(torch.randn(hidden))
        self.letter_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(LETTERS) + 1))
        features = nn.Linear(hidden, N_FEATURES)
        self.spelling_head = nn.Sequential(nn.LayerNorm(hidden), features)
        # Few features are in any one word.
        nn.init.constant_(features.bias, -3.0)
        self.classes = {word: index + 1 for index, word in enumerate(words.drawn)}
        self._table = torch.cat((torch.zeros(1, N_FEATURES), self.spelling.table()))

    def words(self) -> Tensor:
        """Unit vectors of the classes [n_classes, DIM], the background's first."""
        return self.project(torch.cat((self.background[None], self.spelling())))

    def project(self, hidden: Tensor) -> Tensor:
        return normalize(self.projection(self.norm(hidden)).float(), dim=-1)

    def losses(self, pages: Sequence[Page]) -> Mapping[str, Tensor]:
        """Of pages of one size, and the share of words that are read right."""
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
            return self._losses(pages)

    def _losses(self, pages: Sequence[Page]) -> Mapping[str, Tensor]:
        tokens, patches = self.tower(pixels(pages))
        letters = _gathered([page.letters for page in pages], LETTERS, pages, self.tower.patch_side)
        letter_loss = _cross_entropy(self.letter_head(patches), letters)
        found = _gathered([page.marks for page in pages], self.classes, pages, self.tower.token_side)
        spelling_loss = self._spelling_loss(tokens, found) if self.spelling_weight else torch.zeros(())
        logits = (SCALE * self.project(tokens) @ self.words().T).float()
        word_loss = _cross_entropy(logits, found)
        loss = word_loss + letter_loss + spelling_loss
        return {
            "loss": loss,
            "letter": letter_loss.detach(),
            "spelling": spelling_loss.detach(),
            "word": word_loss.detach(),
            "read": _read(logits.detach(), found),
        }

    def _spelling_loss(self, tokens: Tensor, found: "Found") -> Tensor:
        shares = torch.zeros(len(tokens), N_FEATURES)
        shares.index_add_(0, found.tokens, found.weights[:, None] * self._table[found.classes])
        text = torch.unique(found.tokens[found.classes != BACKGROUND])
        return self.spelling_weight * binary_cross_entropy_with_logits(
            self.spelling_head(tokens[text]).float(), shares[text]
        )


@dataclass(frozen=True, slots=True)
class Found:
    """`Labels` of several pages."""

    tokens: Tensor
    classes: Tensor
    weights: Tensor


def _gathered(marks: Sequence[Sequence[Mark]], classes: Mapping[str, int], pages: Sequence[Page], side: int) -> Found:
    columns, rows = pages[0].image.width // side, pages[0].image.height // side
    found = [labels(each, classes, columns, rows, side) for each in marks]
    tokens = np.concatenate([each.tokens + index * rows * columns for index, each in enumerate(found)])
    kinds = np.concatenate([each.classes for each in found])
    weights = np.concatenate([each.weights for each in found])
    return Found(torch.from_numpy(tokens), torch.from_numpy(kinds), torch.from_numpy(weights))


def _cross_entropy(logits: Tensor, found: Found) -> Tensor:
    """Mean over what is labelled; the background, of which there is much, counts less."""
    weights = torch.where(found.classes == BACKGROUND, BACKGROUND_WEIGHT * found.weights, found.weights)
    return -(logits.float().log_softmax(-1)[found.tokens, found.classes] * weights).sum() / weights.sum()


def _read(logits: Tensor, found: Found) -> Tensor:
    """Share of tokens with words whose nearest word is one of theirs."""
    text = found.classes != BACKGROUND
    right = torch.zeros(len(logits))
    hits = logits.argmax(-1)[found.tokens] == found.classes
    right[found.tokens[text & hits]] = 1
    return right[torch.unique(found.tokens[text])].mean()


def pixels(pages: Sequence[Page]) -> Tensor:
    """[n, 3, height, width] from 0 to 255, float32."""
    return torch.from_numpy(np.stack([np.asarray(page.image) for page in pages])).permute(0, 3, 1, 2).float()


@dataclass(frozen=True, slots=True)
class Typography:
    """What letters there are."""

    smallest: float = 12
    """Pixels an em."""
    largest: float = 40
    n_faces: int | None = None
    """So many, evenly chosen; None: all."""
    stretch: tuple[float, float] = (1.0, 1.0)
    """By how much letters are wider than they were drawn, at least and at most, as a page's new shape makes them."""

    def faces(self) -> tuple[Path, ...]:
        every = faces()
        return every if self.n_faces is None else every[:: len(every) // self.n_faces][: self.n_faces]

    def size(self, random: np.random.Generator) -> float:
        return float(np.exp(random.uniform(np.log(self.smallest), np.log(self.largest))))


def snippets(
    random: np.random.Generator, words: Words, n: int, size: tuple[int, int], typography: Typography
) -> list[Page]:
    """Pieces of pages as the model would see them after its resizing."""
    return [_snippet(random, words, size, typography) for _ in range(n)]


def _snippet(random: np.random.Generator, words: Words, size: tuple[int, int], typography: Typography) -> Page:
    # Rendered larger or smaller and resized, because real pages are: the letters are blurred as theirs.
    scale = float(random.uniform(0.8, 1.8))
    style = random_style(random, typography.faces(), max(8, round(typography.size(random) * scale)))
    stretch = float(np.exp(random.uniform(*np.log(typography.stretch))))
    drawn = (round(size[0] * scale / max(stretch, 1)), round(size[1] * scale * min(stretch, 1)))
    page = Renderer(random, words, style, drawn).fill(int(random.integers(2, 12)), 1)
    return page.resized(*size, FILTERS[random.integers(len(FILTERS))])
