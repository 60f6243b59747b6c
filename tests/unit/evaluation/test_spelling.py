"""Which tokens spell a word."""

import pytest

from app.evaluation.spelling import tokens_of_word


@pytest.mark.parametrize(
    ("tokens", "query", "word", "expected"),
    [
        (["h", "ar", "vest", "Ġc", "o", "ff", "ee"], "harvest coffee", "harvest", [0, 1, 2]),
        (["h", "ar", "vest", "Ġc", "o", "ff", "ee"], "harvest coffee", "coffee", [3, 4, 5, 6]),
        (["▁harvest", "▁", "coffee"], "harvest coffee", "coffee", [2]),
        (["Which", " page", "?"], "Which page?", "page", [1]),
        (["harvest", "ing", "▁harvest"], "harvesting harvest", "harvest", [2]),
        (["harvest", "ing"], "harvesting", "harvest", [0]),
        # A token may belong to two words.
        (["a", "▁b", "c"], "ab c", "ab", [0, 1]),
        (["re", "d", "?"], "Red?", "red", [0, 1]),
        # Two bytes of an umlaut that nobody finds in the query.
        (["gr", "Ã", "¶", "ße"], "größe", "größe", [0, 3]),
        (["a", "b"], "a b", "c", []),
        (["a", "b"], "a b", "", []),
        (["x", "y"], "a b", "a", []),
    ],
)
def test_tokens_of_a_word(tokens: list[str], query: str, word: str, expected: list[int]) -> None:
    assert tokens_of_word(tokens, query, word) == expected
