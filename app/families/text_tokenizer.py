"""Tokenizes texts of any length, in several threads at once."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from tokenizers import Encoding
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from app.families.base import Checkpoint
from app.families.pretrained import load_part

CHARS_A_TOKEN = 8
"""Twice what a token of English takes: the head of a long text that is tokenized first."""


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """One text as the model reads it."""

    ids: Tensor
    """[n_tokens] int64, special tokens included."""
    pieces: tuple[str, ...]
    """The tokenizer's pieces of the text itself: `ids[1 : 1 + len(pieces)]`. Empty if they were not asked for."""
    truncated: bool


class TextTokenizer:
    """The fast tokenizer of an encoder that reads one special token before the text and one after it.

    Its truncation and padding stay switched off: they are state of the tokenizer, which threads would change
    under each other ("Already borrowed"). Cutting by hand gives the ids that its truncation would give.
    """

    @classmethod
    def load(cls, checkpoint: Checkpoint, max_tokens: int) -> Self:
        """Read the checkpoint's tokenizer. Raises `ModelLoadError`."""
        return cls(load_part(AutoTokenizer, checkpoint, "tokenizer.json"), max_tokens)

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        """`max_tokens` counts the special tokens."""
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self._max_tokens = max_tokens
        self.token_text = _cached_texts(tokenizer)
        """Text of one vocabulary id, e.g. `telescope` for `▁telescope`."""

    def ids_of(self, names: Collection[str]) -> list[int]:
        """Vocabulary ids of special tokens by their role: `cls_token`, `pad_token`, ..."""
        return [getattr(self._tokenizer, f"{name}_id") for name in names]

    def tokenize(self, texts: Sequence[str], *, with_pieces: bool = False) -> list[TokenizedText]:
        """Ids and pieces of each text, cut to `max_tokens`; the closing special token stays."""
        return [self._cut(encoding, with_pieces) for encoding in self._encode_heads(texts, with_pieces)]

    def _cut(self, encoding: Encoding, with_pieces: bool) -> TokenizedText:
        ids: list[int] = encoding.ids
        truncated = len(ids) > self._max_tokens
        if truncated:
            ids = [*ids[: self._max_tokens - 1], ids[-1]]
        pieces = tuple(encoding.tokens[1 : len(ids) - 1]) if with_pieces else ()
        # By NumPy: torch takes seven times as long over a list.
        return TokenizedText(torch.from_numpy(np.array(ids, dtype=np.int64)), pieces, truncated)

    def _encode_heads(self, texts: Sequence[str], with_pieces: bool) -> list[Encoding]:
        """Encode each text, or as much of its beginning as is sure to hold `max_tokens`."""
        n_chars = self._max_tokens * CHARS_A_TOKEN
        found: dict[int, Encoding] = {}
        while missing := [index for index in range(len(texts)) if index not in found]:
            heads = [_head(texts[index], n_chars) for index in missing]
            found |= {
                index: encoding
                for index, head, encoding in zip(missing, heads, self._encode(heads, with_pieces), strict=True)
                if len(head) == len(texts[index]) or len(encoding) > self._max_tokens
            }
            n_chars *= 4
        return [found[index] for index in range(len(texts))]

    def _encode(self, texts: Sequence[str], with_pieces: bool) -> list[Encoding]:
        # All in one call: each waits once for the interpreter's lock. The fast kind leaves the pieces empty.
        encode = self._backend.encode_batch if with_pieces else self._backend.encode_batch_fast
        encodings: list[Encoding] = encode(list(texts))
        return encodings


def _cached_texts(tokenizer: PreTrainedTokenizerBase) -> Callable[[int], str]:
    """No method of `TextTokenizer`, which would hold itself and stay in memory when its model is closed."""

    @lru_cache(maxsize=65536)
    def token_text(token_id: int) -> str:
        text: str = tokenizer.decode([token_id])
        return text

    return token_text


def _head(text: str, n_chars: int) -> str:
    """The beginning of the text, up to the last white space within `n_chars`, or within four times as many, ...

    These tokenizers split at white space before anything else, so what precedes a space has the same ids whatever
    follows it. Texts without spaces are left whole.
    """
    while n_chars < len(text):
        if (space := max(text.rfind(" ", 0, n_chars), text.rfind("\n", 0, n_chars))) > 0:
            return text[:space]
        n_chars *= 4
    return text
