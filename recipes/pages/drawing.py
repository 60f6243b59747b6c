"""Renders pages whose every word and shape is known: where it stands, and what it is."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recipes.pages.fonts import font
from recipes.pages.page import Mark, Page
from recipes.pages.style import Colour, Style
from recipes.pages.words import COLOURS, SHAPES, Words

X_HEIGHT = 0.5
"""Of letters such as x, in ems; about the same in all faces."""

PUNCTUATION = ("", "", "", "", "", "", ",", ",", ".", ".", ":", ";")


class Renderer:
    """Draws one page; `random` decides everything that is not asked for."""

    def __init__(
        self,
        random: np.random.Generator,
        words: Words,
        style: Style,
        size: tuple[int, int],
        wanted: Sequence[str] = (),
    ) -> None:
        self.random = random
        self.style = style
        self.page = Page(Image.new("RGB", size, style.paper))
        self._draw = ImageDraw.Draw(self.page.image)
        self._words = words
        self._wanted = list(wanted)
        # Drawn from in one call: the generator's choice is slow one by one.
        self._stock: list[str] = []

    def word(self) -> str:
        """The next word: now and then one of those that the page must have."""
        if self._wanted and self.random.random() < 0.3:
            return self._wanted.pop()
        if not self._stock:
            indices = self.random.choice(len(self._words.drawn), 256, p=self._words.frequency)
            self._stock = [self._words.drawn[index] for index in indices]
        return self._stock.pop()

    def fill(self, margin: int, columns: int) -> Page:
        """Blocks from top to bottom, in columns below a title."""
        width, height = self.page.image.size
        top = margin
        if self.random.random() < 0.6:
            top = self.title(margin, top, width - 2 * margin)
        gutter = margin
        column_width = (width - 2 * margin - (columns - 1) * gutter) // columns
        for column in range(columns):
            self._column(margin + column * (column_width + gutter), top, column_width, height - margin)
        return self.page

    def _column(self, left: int, top: int, width: int, bottom: int) -> None:
        while bottom - top > 1.2 * self.style.size:
            block = BLOCKS[self.random.choice(len(BLOCKS), p=BLOCK_WEIGHTS)]
            top = block(self, left, top, width, bottom)
            top += int(self.style.size * self.random.uniform(0.4, 1.6))

    # Text.

    def title(self, left: int, top: int, width: int) -> int:
        size = int(self.style.size * self.random.uniform(1.5, 2.4))
        n_words = int(self.random.integers(1, 6))
        case = str.title if self.random.random() < 0.7 else str.upper
        text = [case(self.word()) for _ in range(n_words)]
        return self.lines(left, top, width, self.page.image.height, text, self.style.heading, size, self.style.accent)

    def lines(
        self,
        left: int,
        top: int,
        width: int,
        bottom: int,
        text: Sequence[str],
        face: Path,
        size: int,
        ink: Colour,
    ) -> int:
        """Set words in lines that are broken at the width; those that have no room are left out. Returns the end."""
        face_at_size = font(face, max(size, 6))
        space = face_at_size.getlength(" ")
        x, baseline = float(left), top + size
        leading = int(self.style.leading * size)
        for piece in text:
            length = face_at_size.getlength(piece)
            if x > left and x + length > left + width:
                x, baseline = float(left), baseline + leading
            if length <= width and baseline + 0.25 * size <= bottom:
                self.put(piece, x, baseline, face_at_size, ink)
                x += length + space
        return int(baseline + 0.3 * size)

    def put(self, text: str, x: float, baseline: float, face: ImageFont.FreeTypeFont, ink: Colour) -> None:
        """One word or number, from its left end on the baseline."""
        self._draw.text((x, baseline), text, ink, face, anchor="ls")
        name = text.lower().strip(",.:;!?()")
        left, top, right, bottom = face.getbbox(text, anchor="ls")
        box = (x + left, baseline + top, x + right, baseline + bottom)
        self.page.marks.append(Mark((name,) if name.isalpha() else (), box))
        ends = [face.getlength(text[: index + 1]) for index in range(len(text))]
        for letter, start, end in zip(text.lower(), [0.0, *ends], ends, strict=False):
            if letter.isalpha():
                core = (x + start, baseline - X_HEIGHT * face.size, x + end, baseline)
                self.page.letters.append(Mark((letter,), core))

    def sentence(self, n_words: int) -> list[str]:
        text = [self.word() + PUNCTUATION[self.random.integers(len(PUNCTUATION))] for _ in range(n_words)]
        text[0] = text[0].capitalize()
        return text

    def number(self) -> str:
        value = int(10 ** self.random.uniform(0, 5))
        return f"{value:,}" if self.random.random() < 0.5 else f"{value / 10:.1f}"

    # Blocks: each draws from `top` on and returns where it ends.

    def paragraph(self, left: int, top: int, width: int, bottom: int) -> int:
        text = self.sentence(int(self.random.integers(4, 40)))
        return self.lines(left, top, width, bottom, text, self.style.body, self.style.size, self.style.ink)

    def heading(self, left: int, top: int, width: int, bottom: int) -> int:
        size = int(self.style.size * self.random.uniform(1.1, 1.7))
        text = [word.capitalize() for word in self.sentence(int(self.random.integers(1, 5)))]
        return self.lines(left, top, width, bottom, text, self.style.heading, size, self.style.accent)

    def bullets(self, left: int, top: int, width: int, bottom: int) -> int:
        indent = int(1.2 * self.style.size)
        for _ in range(int(self.random.integers(2, 5))):
            if top + 1.3 * self.style.size > bottom:
                break
            centre = top + 0.7 * self.style.size
            radius = 0.15 * self.style.size
            dot = (left + indent / 2 - radius, centre - radius, left + indent / 2 + radius, centre + radius)
            self._draw.ellipse(dot, self.style.ink)
            text = self.sentence(int(self.random.integers(1, 7)))
            top = self.lines(
                left + indent, top, width - indent, bottom, text, self.style.body, self.style.size, self.style.ink
            )
        return top

    def table(self, left: int, top: int, width: int, bottom: int) -> int:
        n_columns = min(int(self.random.integers(2, 5)), max(1, width // (5 * self.style.size)))
        row_height = int(1.7 * self.style.size)
        n_rows = min(int(self.random.integers(2, 7)), (bottom - top) // row_height)
        cell = width // n_columns
        for row in range(n_rows):
            y = top + row * row_height
            if row == 0:
                self._draw.rectangle(
                    (left, y, left + n_columns * cell, y + row_height), _mixed(self.style.accent, 0.75)
                )
            for column in range(n_columns):
                text = self.word().capitalize() if row == 0 or column == 0 else self.number()
                self._cell(text, left + column * cell, y, cell)
            self._draw.line((left, y + row_height, left + n_columns * cell, y + row_height), (160, 160, 160))
        return top + n_rows * row_height

    def _cell(self, text: str, left: int, top: int, width: int) -> None:
        face = font(self.style.body, self.style.size)
        if face.getlength(text) < width - self.style.size * 0.5:
            self.put(text, left + self.style.size * 0.25, top + 1.2 * self.style.size, face, self.style.ink)

    def chart(self, left: int, top: int, width: int, bottom: int) -> int:
        """Bars with a word beside each."""
        row_height = int(1.6 * self.style.size)
        n_bars = min(int(self.random.integers(2, 6)), (bottom - top) // row_height)
        face = font(self.style.body, self.style.size)
        names = list(COLOURS)
        for bar in range(n_bars):
            label = self.word()
            start = left + int(face.getlength(label)) + self.style.size
            y = top + bar * row_height
            length = int((left + width - start) * self.random.uniform(0.2, 1.0))
            if length < 4:
                continue
            self.put(label, left, y + 1.1 * self.style.size, face, self.style.ink)
            name = names[self.random.integers(len(names))]
            box = (start, y + 0.25 * self.style.size, start + length, y + 1.25 * self.style.size)
            self._draw.rectangle(box, COLOURS[name])
            self.page.marks.append(Mark((name,), box))
        return top + n_bars * row_height

    def form(self, left: int, top: int, width: int, bottom: int) -> int:
        row_height = int(2 * self.style.size)
        face = font(self.style.body, self.style.size)
        for _ in range(int(self.random.integers(1, 5))):
            if top + row_height > bottom:
                break
            label = self.word().capitalize() + ":"
            baseline = top + 1.4 * self.style.size
            self.put(label, left, baseline, face, self.style.ink)
            start = left + face.getlength(label) + self.style.size * 0.5
            if self.random.random() < 0.5:
                self._draw.line((start, baseline, left + width, baseline), self.style.ink)
            elif start + 2 < left + width:
                frame = (start, top + 0.3 * self.style.size, left + width, top + 1.8 * self.style.size)
                self._draw.rectangle(frame, outline=self.style.ink)
            top += row_height
        return top

    def callout(self, left: int, top: int, width: int, bottom: int) -> int:
        """Light words on a dark ground, or dark ones on a pale ground."""
        dark = self.random.random() < 0.5
        ground, ink = (
            (self.style.accent, (255, 255, 255)) if dark else (_mixed(self.style.accent, 0.85), self.style.ink)
        )
        size = int(self.style.size * self.random.uniform(1.0, 1.5))
        height = int(size * 2.2)
        if top + height > bottom:
            return top + height
        self._draw.rectangle((left, top, left + width, top + height), ground)
        text = [self.word() for _ in range(int(self.random.integers(1, 4)))]
        self.lines(left + size // 2, top + size // 3, width - size, top + height, text, self.style.heading, size, ink)
        return top + height

    def shapes(self, left: int, top: int, width: int, bottom: int) -> int:
        side = int(self.style.size * self.random.uniform(2.0, 4.5))
        if top + side > bottom:
            return top + side
        n_shapes = min(int(self.random.integers(1, 4)), width // (side + self.style.size))
        names = list(COLOURS)
        for index in range(n_shapes):
            colour, shape = names[self.random.integers(len(names))], SHAPES[self.random.integers(len(SHAPES))]
            self.shape(colour, shape, left + index * (side + self.style.size), top, side)
        return top + side

    def shape(self, colour: str, shape: str, left: int, top: int, side: int) -> None:
        """One figure in a square of this side."""
        fill = tuple(int(np.clip(part + self.random.integers(-18, 19), 0, 255)) for part in COLOURS[colour])
        box = (left, top, left + side, top + side)
        if shape == "circle":
            self._draw.ellipse(box, fill)
        elif shape == "ring":
            self._draw.ellipse(box, outline=fill, width=max(2, side // 5))
        else:
            corners = [(left + x * side, top + y * side) for x, y in OUTLINES[shape]]
            self._draw.polygon(corners, fill)
        self.page.marks.append(Mark((colour, shape), box))


def _star() -> list[tuple[float, float]]:
    angles = [math.pi * (index / 5 - 0.5) for index in range(10)]
    radii = [0.5, 0.2] * 5
    return [(0.5 + r * math.cos(a), 0.5 + r * math.sin(a)) for a, r in zip(angles, radii, strict=True)]


OUTLINES: dict[str, list[tuple[float, float]]] = {
    "square": [(0, 0), (1, 0), (1, 1), (0, 1)],
    "triangle": [(0.5, 0), (1, 1), (0, 1)],
    "diamond": [(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)],
    "cross": [
        *[(0.33, 0), (0.67, 0), (0.67, 0.33), (1, 0.33), (1, 0.67), (0.67, 0.67)],
        *[(0.67, 1), (0.33, 1), (0.33, 0.67), (0, 0.67), (0, 0.33), (0.33, 0.33)],
    ],
    "arrow": [(0, 0.3), (0.55, 0.3), (0.55, 0), (1, 0.5), (0.55, 1), (0.55, 0.7), (0, 0.7)],
    "star": _star(),
}
"""Corners in a square of side 1."""

Block = Callable[[Renderer, int, int, int, int], int]
BLOCKS: tuple[Block, ...] = (
    Renderer.paragraph,
    Renderer.heading,
    Renderer.bullets,
    Renderer.table,
    Renderer.chart,
    Renderer.form,
    Renderer.callout,
    Renderer.shapes,
)
BLOCK_WEIGHTS = (0.34, 0.14, 0.1, 0.12, 0.07, 0.05, 0.08, 0.1)


def _mixed(colour: Colour, white: float) -> Colour:
    red, green, blue = (int(part + (255 - part) * white) for part in colour)
    return red, green, blue
