"""The README.md that every starter checkpoint carries: what it is, how it was made, what it reached, what it is not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.evaluation.report import Row, markdown

TEMPLATE = """---
license: mit
library_name: {card.library}
tags: [starter, {card.family}]
---

# {card.title}

A small {card.family} model in the file format of `{card.original}`, trained from scratch for
[Manyvec](../../../README.md)'s first start. The weights are ours, under the MIT license; nothing was taken from
`{card.original}` but the format.

## Architecture

{card.architecture}

## Data

{card.data}

## Training

{card.method}

```bash
{card.recipe}
```

makes it again; the seed is {card.seed}.

## Figures

{figures}

## What it is not

{card.limits}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a model card tells; the texts are Markdown."""

    title: str
    """Served name: `e5-starter`."""
    family: str
    """As `starter.toml` has it: `e5`."""
    original: str
    """Hub id of the model whose file format this one has."""
    library: str
    """The hub's `library_name`: `transformers`, `sentence-transformers`, `colpali`."""
    architecture: str
    """Layers, widths, vocabulary, size on disk."""
    data: str
    """What it was trained on and where that comes from; a teacher too, if there was one."""
    method: str
    """Losses, steps, time and on what."""
    recipe: str
    """Command that makes it: `make starter-e5`."""
    seed: int
    limits: str
    """What it cannot do."""
    figures: Sequence[Row]
    """Rows of one table with named cells; a row may leave cells out."""


def write_card(folder: Path, card: Card) -> None:
    """Write `README.md` into a checkpoint's folder."""
    text = TEMPLATE.format(card=card, figures=markdown(card.figures))
    (folder / "README.md").write_text(text, encoding="utf-8")
