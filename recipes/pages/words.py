"""The words of the pages: common English, ordered by how often WordNet's definitions use them."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from recipes.debian import unpacked

N_WORDS = 4000
HELD_OUT_EVERY = 20
"""Of so many rarer words one is never drawn in training; the evaluation asks for them in a row of its own."""

N_COMMONEST = 1000
"""None of these is held out."""

N_FUNCTION_WORDS = 60
"""The most frequent words stand on nearly every page: nobody searches for them."""

COLOURS = {
    "red": (214, 40, 40),
    "green": (46, 139, 60),
    "blue": (38, 84, 200),
    "yellow": (246, 210, 30),
    "orange": (240, 130, 20),
    "purple": (128, 50, 160),
    "pink": (245, 140, 180),
    "brown": (130, 80, 40),
    "black": (20, 20, 20),
    "grey": (140, 140, 140),
}
SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross", "arrow", "ring")
QUESTION_WORDS = ("which", "what", "where", "page", "mentions", "shows", "find", "about", "has", "contains", "says")


@dataclass(frozen=True, slots=True)
class Words:
    """What is drawn, in the order of frequency, and how often."""

    drawn: tuple[str, ...]
    unseen: tuple[str, ...]
    frequency: NDArray[np.float64]
    """Of each drawn word; they add up to 1. Flatter than in real texts, so that rare words are learned too."""

    @property
    def content(self) -> tuple[str, ...]:
        """Drawn words that a query may ask for."""
        return self.drawn[N_FUNCTION_WORDS:]

    @property
    def silent(self) -> frozenset[str]:
        """Words that a query does not ask for: function words, and those that make a question of it."""
        return frozenset({*self.drawn[:N_FUNCTION_WORDS], *QUESTION_WORDS} - {*COLOURS, *SHAPES})


@cache
def words() -> Words:
    """The vocabulary of the pages; the same on every machine, given the packages."""
    ranked = _ranked()[:N_WORDS]
    always = {*COLOURS, *SHAPES, *QUESTION_WORDS}
    unseen = [word for word in ranked[N_COMMONEST::HELD_OUT_EVERY] if word not in always and len(word) > 3]
    missing = sorted(always - set(ranked))
    drawn = [word for word in ranked if word not in set(unseen)] + missing
    frequency = 1 / np.sqrt(np.arange(len(drawn)) + 100.0)
    return Words(tuple(drawn), tuple(unseen), frequency / frequency.sum())


def _ranked() -> list[str]:
    """Words of SCOWL's common lists; those of the shortest list count threefold."""
    common = _scowl("english-words.10") | _scowl("american-words.10")
    known = common | _scowl("english-words.20") | _scowl("american-words.20") | _scowl("english-words.35")
    counts = Counter(word for word in _glosses() if word in known and len(word) > 1)
    scores = {word: count * (3 if word in common else 1) for word, count in counts.items()}
    return sorted(scores, key=lambda word: (-scores[word], word))


def _scowl(name: str) -> set[str]:
    path = unpacked("scowl") / "usr/share/dict/scowl" / name
    return {word for word in path.read_text("latin-1").split() if word.isascii() and word.isalpha() and word.islower()}


def _glosses() -> Iterator[str]:
    for path in sorted((unpacked("wordnet-base") / "usr/share/wordnet").glob("data.*")):
        for line in path.read_text("latin-1").splitlines():
            yield from re.findall("[a-z]+", line.partition("|")[2].lower())
