"""One line of text in any script, drawn with the fonts at hand."""

import unicodedata
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont

BUNDLED_FONT = Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
"""Ships with matplotlib: Latin, Greek, Cyrillic, Arabic, symbols."""

SYSTEM_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "NotoEmoji-Regular.ttf",
    "seguisym.ttf",
    "unifont.otf",
)
"""File names of common fonts for what the bundled one lacks; used where the system has them."""

MAX_CHARS = 300
INVISIBLE = frozenset({"Cc", "Cf", "Mn", "Me"})
"""Unicode categories that are dropped when no font has them: controls, joiners, loose accents."""


@dataclass(frozen=True, slots=True)
class Typeface:
    """A font file and the characters that it can draw."""

    path: str
    characters: frozenset[int]


class Lettering:
    """Fonts of one size in pixels. A character that no font has is written as its code point, `U+4E2D`."""

    def __init__(self, size: int) -> None:
        self._typefaces = _typefaces()
        self._fonts = {face.path: ImageFont.truetype(face.path, size) for face in self._typefaces}

    def width(self, text: str) -> float:
        """Of the line in pixels."""
        return sum(font.getlength(run) for font, run in self._runs(text))

    def shorten(self, text: str, width: float) -> str:
        """`text` with as much of its middle replaced by an ellipsis as it takes to be at most `width` pixels wide.

        Empty if not even the ellipsis fits.
        """
        text = _without_middle(text, MAX_CHARS)
        if self.width(text) <= width:
            return text
        shortened = (_without_middle(text, n) for n in range(len(text) - 1, 0, -1))
        return next((line for line in shortened if self.width(line) <= width), "")

    def draw(self, canvas: ImageDraw.ImageDraw, x: float, baseline: float, text: str, fill: str) -> None:
        """Write the line from `x` rightwards."""
        for font, run in self._runs(text):
            canvas.text((x, baseline), run, fill, font, anchor="ls")
            x += font.getlength(run)

    def _runs(self, text: str) -> list[tuple[ImageFont.FreeTypeFont, str]]:
        """Neighbours that one font draws, in order."""
        text = " ".join(unicodedata.normalize("NFC", text).split())
        glyphs = [glyph for character in text for glyph in self._glyphs(character)]
        return [
            (self._fonts[path], "".join(character for _, character in run))
            for path, run in groupby(glyphs, key=lambda glyph: glyph[0])
        ]

    def _glyphs(self, character: str) -> list[tuple[str, str]]:
        """Pairs of a font's path and a character that it has."""
        for face in self._typefaces:
            if ord(character) in face.characters:
                return [(face.path, character)]
        if unicodedata.category(character) in INVISIBLE:
            return []
        return [(self._typefaces[0].path, c) for c in f"U+{ord(character):04X}"]


def _without_middle(text: str, length: int) -> str:
    """At most `length` characters of `text`, an ellipsis in place of its middle."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return text[: length - 1 - tail] + "…" + text[len(text) - tail :]


@cache
def _typefaces() -> tuple[Typeface, ...]:
    """The bundled font and those of `SYSTEM_FONTS` that are installed."""
    paths = [str(BUNDLED_FONT), *filter(None, map(_installed, SYSTEM_FONTS))]
    return tuple(Typeface(path, frozenset(FT2Font(path).get_charmap())) for path in paths)


def _installed(file_name: str) -> str | None:
    """Where the system keeps that font; Pillow looks through the platform's font folders."""
    try:
        path = ImageFont.truetype(file_name).path
    except OSError:
        return None
    return path if isinstance(path, str) else None
