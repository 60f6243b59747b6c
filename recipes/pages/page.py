"""A picture and everything on it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

Box = tuple[float, float, float, float]


@dataclass(slots=True)
class Mark:
    """Something on a page that a query can ask for."""

    names: tuple[str, ...]
    """The word in small letters; or colour and shape of a drawn thing. Empty for a number."""
    box: Box
    """Left, top, right, bottom in pixels."""


@dataclass(slots=True)
class Page:
    """A picture and everything on it."""

    image: Image.Image
    marks: list[Mark] = field(default_factory=list)
    letters: list[Mark] = field(default_factory=list)
    """Each letter of the words, in small letters; as wide as its advance, as high as an x."""

    def resized(self, width: int, height: int, filter_: Image.Resampling) -> "Page":
        """The page at another size, its marks moved along."""
        across, down = width / self.image.width, height / self.image.height

        def moved(marks: Sequence[Mark]) -> list[Mark]:
            return [
                Mark(m.names, (m.box[0] * across, m.box[1] * down, m.box[2] * across, m.box[3] * down)) for m in marks
            ]

        return Page(self.image.resize((width, height), filter_), moved(self.marks), moved(self.letters))
