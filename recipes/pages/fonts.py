"""Typefaces of the rendered pages, from Debian's packages: text faces with and without serifs, slab, mono."""

from functools import cache, lru_cache
from pathlib import Path

from PIL import ImageFont

from recipes.debian import unpacked

PACKAGES = (
    "fonts-dejavu-core",
    "fonts-dejavu-extra",
    "fonts-liberation2",
    "fonts-freefont-ttf",
    "fonts-open-sans",
    "fonts-roboto-unhinted",
    "fonts-lato",
    "fonts-crosextra-carlito",
    "fonts-crosextra-caladea",
    "fonts-linuxlibertine",
    "fonts-ebgaramond",
    "fonts-inconsolata",
    "fonts-noto-mono",
    "fonts-urw-base35",
    "fonts-cantarell",
    "fonts-firacode",
    "fonts-hack",
    "fonts-vollkorn",
    "fonts-croscore",
)
UNREADABLE = (
    "D050000L",
    "StandardSymbols",
    "Z003",
    "Initials",
    "MathTeX",
    "Thin",
    "Hairline",
    "Keyboard",
    "Black",
    "Ultra",
)
"""In names of faces without Latin letters, and of those that ordinary documents do not use."""

HELD_OUT = ("Caladea-Regular", "OpenSans-Regular", "Cousine-Regular")
"""Never seen in training; some of the evaluation's pages are set in them."""


@cache
def faces() -> tuple[Path, ...]:
    """Files of the faces for training, in the order of their names."""
    return tuple(path for path in _all() if path.stem not in HELD_OUT)


@cache
def held_out_faces() -> tuple[Path, ...]:
    """Files of the faces that only the evaluation uses."""
    return tuple(path for path in _all() if path.stem in HELD_OUT)


@cache
def _all() -> tuple[Path, ...]:
    found: dict[str, Path] = {}
    for package in PACKAGES:
        for path in (unpacked(package) / "usr/share/fonts").rglob("*.[to]tf"):
            if not any(part in path.stem for part in UNREADABLE):
                found.setdefault(path.stem, path)
    return tuple(found[stem] for stem in sorted(found))


@lru_cache(maxsize=4096)
def font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """The face at a size in pixels an em."""
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
