"""Texts of realistic, ragged lengths."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from app.starter.vocabulary import WORDS

PREFIX = "passage: "
"""What E5 puts before a text that is to be found. Our server adds it itself; peers get it with the text."""

MEDIAN_TOKENS = 60
SIGMA = 1.0
"""Of the logarithm: one text in six is longer than 160 tokens, the mean is about 95."""
MAX_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Text:
    """A text without its prefix, and the tokens that a model reads of it, prefix and special tokens included."""

    bare: str
    n_tokens: int

    @property
    def prefixed(self) -> str:
        return PREFIX + self.bare


def ragged_texts(n: int, checkpoint: Path, seed: int = 0) -> list[Text]:
    """Texts of random words with log-normal lengths, for the tokenizer of `checkpoint`."""
    random = np.random.default_rng(seed)
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    lengths = np.clip(random.lognormal(np.log(MEDIAN_TOKENS), SIGMA, n), 8, MAX_TOKENS).astype(int)
    return [_text(tokenizer, int(length), random) for length in lengths]


def n_tokens(texts: Sequence[Text]) -> int:
    """Tokens of all texts together."""
    return sum(text.n_tokens for text in texts)


def _text(tokenizer: Tokenizer, length: int, random: np.random.Generator) -> Text:
    """About `length` tokens and never more."""
    words = random.choice(WORDS, size=length)
    ends = np.cumsum([len(tokenizer.encode(" " + word, add_special_tokens=False)) for word in words])
    n_special_and_prefix = len(tokenizer.encode(PREFIX + "a")) - 1
    fitting = max(1, int(np.searchsorted(ends, length - n_special_and_prefix, side="right")))
    bare = " ".join(words[:fitting])
    return Text(bare, len(tokenizer.encode(PREFIX + bare)))
