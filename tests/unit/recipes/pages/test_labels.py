"""Which words lie on which tokens."""

import numpy as np
import pytest

from recipes.pages.labels import BACKGROUND, labels
from recipes.pages.page import Mark

CLASSES = {"harvest": 1, "coffee": 2, "red": 3, "circle": 4}


def of_token(token: int, *marks: Mark) -> dict[int, float]:
    """Class -> weight of one token of a grid of 4 x 2 tokens of 10 pixels."""
    found = labels(marks, CLASSES, columns=4, rows=2, side=10)
    return {int(c): float(w) for t, c, w in zip(found.tokens, found.classes, found.weights, strict=True) if t == token}


def test_a_word_marks_the_tokens_that_it_covers() -> None:
    word = Mark(("harvest",), (0, 1, 20, 9))
    assert of_token(0, word) == of_token(1, word) == {1: 1.0}
    assert of_token(2, word) == {BACKGROUND: 1.0}


def test_two_words_share_a_token_by_area() -> None:
    left, right = Mark(("harvest",), (0, 0, 4, 10)), Mark(("coffee",), (4, 0, 10, 10))
    assert of_token(0, left, right) == pytest.approx({1: 0.4, 2: 0.6})


def test_a_token_that_is_barely_touched_has_no_label() -> None:
    assert of_token(1, Mark(("harvest",), (0, 0, 12, 10))) == {}


def test_a_shape_has_its_colour_and_its_name() -> None:
    assert of_token(5, Mark(("red", "circle"), (10, 10, 20, 20))) == pytest.approx({3: 0.5, 4: 0.5})


def test_a_number_is_background() -> None:
    assert of_token(0, Mark((), (0, 0, 10, 10))) == {BACKGROUND: 1.0}


def test_weights_of_a_token_add_up_to_one() -> None:
    random = np.random.default_rng(0)
    corners = random.uniform((0, 0), (30, 15), size=(20, 2))
    marks = [Mark(("harvest",), (x, y, x + 9, y + 5)) for x, y in corners]
    found = labels(marks, CLASSES, columns=4, rows=2, side=10)
    totals = np.bincount(found.tokens, found.weights)
    assert totals[np.unique(found.tokens)] == pytest.approx(1.0)
