"""Which words a query asks for."""

import numpy as np

from recipes.pages.words import COLOURS, N_FUNCTION_WORDS, Words


def test_function_words_and_those_of_questions_are_silent_but_no_colour() -> None:
    drawn = (*(f"w{index}" for index in range(N_FUNCTION_WORDS - 1)), "red", "harvest", "which")
    words = Words(drawn, (), np.ones(len(drawn)))
    assert {"w0", "which", "mentions"} <= words.silent
    assert not words.silent & {"harvest", *COLOURS}
    assert "harvest" in words.content
