"""Vectors of words from their letters, so that words that look alike are alike: what a reader of pictures can learn.

Letters by where in the word they stand, as in the pyramidal histogram of characters (PHOC; Almazan et al., "Word
Spotting and Recognition with Embedded Attributes", 2014), and pairs of neighbouring letters.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from string import ascii_lowercase

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

LEVELS = (1, 2, 3, 4, 5)
N_LETTERS = len(ascii_lowercase)
N_FEATURES = N_LETTERS * sum(LEVELS) + N_LETTERS**2 + 2 * N_LETTERS + 1


class Spelling(nn.Module):
    """Words -> vectors [n_words, dim], through their spelling alone."""

    def __init__(self, words: Sequence[str], dim: int, hidden: int = 256) -> None:
        super().__init__()
        self._features = [torch.tensor(sorted(set(features(word)))) for word in words]
        self.letters = nn.EmbeddingBag(N_FEATURES, hidden, mode="sum")
        self.outer = nn.Linear(hidden, dim)
        nn.init.normal_(self.letters.weight, std=0.3)
        self._bags, self._offsets = _bags(self._features)

    def table(self) -> Tensor:
        """What each word has: ones and zeros [n_words, N_FEATURES]."""
        table = torch.zeros(len(self._features), N_FEATURES)
        for row, found in zip(table, self._features, strict=True):
            row[found] = 1
        return table

    def forward(self) -> Tensor:
        """Of the words that it was made for."""
        return self._vectors(self._bags, self._offsets)

    def of(self, words: Sequence[str]) -> Tensor:
        """Of any words."""
        return self._vectors(*_bags([torch.tensor(sorted(set(features(word)))) for word in words]))

    def _vectors(self, bags: Tensor, offsets: Tensor) -> Tensor:
        vectors: Tensor = self.outer(gelu(self.letters(bags, offsets)))
        return vectors


def features(word: str) -> Iterator[int]:
    """Indices of what the word has; other characters than a to z count for nothing."""
    yield N_FEATURES - 1
    codes = [ascii_lowercase.find(letter) for letter in word.lower()]
    first = 0
    for level in LEVELS:
        for index, code in enumerate(codes):
            region = int((index + 0.5) / len(codes) * level)
            if code >= 0:
                yield first + region * N_LETTERS + code
        first += level * N_LETTERS
    for left, right in pairwise(codes):
        if left >= 0 and right >= 0:
            yield first + left * N_LETTERS + right
    first += N_LETTERS**2
    for offset, code in enumerate((codes[0], codes[-1]) if codes else ()):
        if code >= 0:
            yield first + offset * N_LETTERS + code


def _bags(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in features])
    return torch.cat(list(features)), torch.cat((torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)[:-1]))
