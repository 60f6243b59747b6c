"""Which of a query's tokens spell a word."""

import re
import unicodedata
from collections.abc import Sequence

MARKS = re.compile(r"[\s▁Ġ]+")
"""White space, and what tokenizers write for it."""


def tokens_of_word(tokens: Sequence[str], query: str, word: str) -> list[int]:
    """Indices of the tokens that share a letter with the first occurrence of `word` in `query`.

    `tokens` are pieces of the query in order. Case, accents' encoding and white space do not count; a piece that is not
    found in the query (of an unknown character, for example) spells nothing. Empty if the word is not in the query.
    """
    text, wanted = _bare(query), _bare(word)
    start = _whole_word(query, word)
    if start < 0 or not wanted:
        return []
    end = start + len(wanted)
    found, place = [], 0
    for index, token in enumerate(tokens):
        piece = _bare(token)
        at = text.find(piece, place) if piece else -1
        if at < 0:
            continue
        place = at + len(piece)
        if at < end and place > start:
            found.append(index)
    return found


def _whole_word(query: str, word: str) -> int:
    """Where the word begins in the bare query; a word of its own before a part of a longer one. -1: nowhere."""
    folded = _folded(query)
    match = re.search(rf"(?<!\w){re.escape(_folded(word))}(?!\w)", folded) or re.search(
        re.escape(_folded(word)), folded
    )
    return len(_bare(folded[: match.start()])) if match else -1


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _bare(text: str) -> str:
    return _folded(MARKS.sub("", text))
