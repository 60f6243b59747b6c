"""The README.md that each built checkpoint carries."""

from pathlib import Path

CARD = """---
license: mit
library_name: {library}
tags: [untrained]
---

# {title} (untrained)

**Random weights. The vectors of this model mean nothing.**

A small checkpoint in the file format of `{original}`, written by `app/starter` from a fixed seed.
It exists so that the server and its tests run the real model code without a download: files and shapes are genuine,
rankings are chance. Do not search with it; `make serve` serves the real models.
"""


def write_card(folder: Path, *, title: str, original: str, library: str = "transformers") -> None:
    """Say in the folder itself what it is; `original` is the hub id whose format it has."""
    text = CARD.format(title=title, original=original, library=library)
    (folder / "README.md").write_text(text, encoding="utf-8")
