import numpy as np
import pytest
from PIL import Image, ImageDraw

from app.core.lettering import Lettering


@pytest.fixture(scope="module")
def lettering() -> Lettering:
    return Lettering(20)


def ink(lettering: Lettering, text: str) -> np.ndarray:
    image = Image.new("L", (400, 30))
    lettering.draw(ImageDraw.Draw(image), 5, 22, text, "white")
    return np.asarray(image)


def test_width_is_where_the_ink_ends(lettering: Lettering) -> None:
    text = "Größe Ωμέγα привет"
    last = np.flatnonzero(ink(lettering, text).any(axis=0)).max()
    assert last == pytest.approx(5 + lettering.width(text), abs=3)


def test_what_no_font_has_is_written_as_its_code_point(lettering: Lettering) -> None:
    assert (ink(lettering, "a\U000f0000") == ink(lettering, "aU+F0000")).all()
    assert (ink(lettering, "\ud800") == ink(lettering, "U+D800")).all()


def test_what_cannot_be_seen_is_dropped(lettering: Lettering) -> None:
    assert lettering.width("a\x00\x07b") == lettering.width("ab")
    assert lettering.width(" a\n\t b ") == lettering.width("a b")


def test_a_long_line_loses_its_middle(lettering: Lettering) -> None:
    line = lettering.shorten("photosynthesis " * 1000 + "0.87", 200)
    assert lettering.width(line) <= 200
    assert line.startswith("photo")
    assert "…" in line
    assert line.endswith("0.87")


def test_a_line_that_fits_stays_whole(lettering: Lettering) -> None:
    assert lettering.shorten("solar 0.87", 300) == "solar 0.87"


def test_nothing_is_left_where_nothing_fits(lettering: Lettering) -> None:
    assert lettering.shorten("solar 0.87", 3) == ""
