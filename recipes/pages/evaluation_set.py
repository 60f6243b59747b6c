"""Writes the pages that the evaluation searches, and what is searched for: `app/evaluation/data/pages/`.

    .venv/bin/python -m recipes.pages.evaluation_set

Words of training in new texts, layouts and sizes, a part of them in faces that training never used; words that
training never drew make a group of their own.
"""

import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recipes.pages.drawing import Renderer
from recipes.pages.fonts import faces, held_out_faces
from recipes.pages.page import Page
from recipes.pages.style import random_style
from recipes.pages.words import COLOURS, SHAPES, words

FOLDER = Path(__file__).parents[2] / "app" / "evaluation" / "data" / "pages"
SEED = 2026
N_PAGES = 200
N_UNSEEN_A_PAGE = 3
SIZES = ((640, 830), (680, 900), (750, 600), (600, 800), (900, 1270))
QUALITY = 45
QUESTIONS = (
    "Which page mentions {0} and {1}?",
    "Where is {0} next to {1} and {2}?",
    "What says {0} about {1}?",
    "Find the page about {0}, {1} and {2}",
)
Query = dict[str, Any]


def main() -> None:
    """Draw the pages and choose the queries; the same files at every run with the same fonts."""
    random = np.random.default_rng(SEED)
    pages = [_page(np.random.default_rng((SEED, index))) for index in range(N_PAGES)]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(FOLDER / "pages.zip", "w") as archive:
        for index, page in enumerate(pages):
            archive.writestr(zipfile.ZipInfo(f"{index:03}.webp"), _webp(page.image))
    queries = [*_word_queries(random, pages), *_shape_queries(random, pages), *_unseen_queries(random, pages)]
    text = ",\n".join(json.dumps(query) for query in queries)
    (FOLDER / "queries.json").write_text(f'{{"queries": [\n{text}\n]}}\n', encoding="utf-8")
    print(Counter(query["kind"] for query in queries))


def _page(random: np.random.Generator) -> Page:
    size = SIZES[random.integers(len(SIZES))]
    choice = held_out_faces() if random.random() < 0.25 else faces()
    style = random_style(random, choice, int(max(size) * random.uniform(0.018, 0.03)))
    wanted = [str(word) for word in random.choice(words().unseen, N_UNSEEN_A_PAGE, replace=False)]
    margin = int(min(size) * random.uniform(0.04, 0.09))
    return Renderer(random, words(), style, size, wanted).fill(margin, int(random.integers(1, 3)))


def _webp(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=2)
    return file.getvalue()


def _word_queries(random: np.random.Generator, pages: Sequence[Page]) -> Iterator[Query]:
    """One to five words of a page, alone for every page and in a question for every second one."""
    content = set(words().content) - {*COLOURS, *SHAPES}
    for index, page in enumerate(pages):
        found = sorted({name for mark in page.marks for name in mark.names} & content)
        if len(found) < 5:
            continue
        chosen = [str(word) for word in random.choice(found, int(random.integers(1, 6)), replace=False)]
        yield _query(" ".join(chosen), "words", chosen, pages, index)
        if index % 2:
            chosen = [str(word) for word in random.choice(found, 3, replace=False)]
            question = QUESTIONS[random.integers(len(QUESTIONS))]
            used = chosen[: question.count("{")]
            yield _query(question.format(*used), "question", used, pages, index)


def _shape_queries(random: np.random.Generator, pages: Sequence[Page]) -> Iterator[Query]:
    """A coloured shape and a word beside it."""
    content = sorted(set(words().content) - {*COLOURS, *SHAPES})
    for index, page in enumerate(pages):
        drawn = [mark.names for mark in page.marks if len(mark.names) == 2]
        found = sorted({name for mark in page.marks for name in mark.names} & set(content))
        if not drawn or not found or index % 3:
            continue
        colour, shape = drawn[random.integers(len(drawn))]
        word = found[random.integers(len(found))]
        yield _query(f"{colour} {shape} {word}", "shapes", [colour, shape, word], pages, index)


def _unseen_queries(random: np.random.Generator, pages: Sequence[Page]) -> Iterator[Query]:
    unseen = set(words().unseen)
    for index, page in enumerate(pages):
        found = sorted({name for mark in page.marks for name in mark.names} & unseen)
        if found:
            yield _query(" ".join(found), "unseen", found, pages, index)


def _query(text: str, kind: str, wanted: Sequence[str], pages: Sequence[Page], source: int) -> Query:
    """Relevant is every page that has all of the words; they are looked for on the page that they came from."""
    relevant = [index for index, page in enumerate(pages) if set(wanted) <= _names(page)]
    boxes = [{"text": word, "page": source, "boxes": _boxes(pages[source], word)} for word in wanted]
    return {"text": text, "kind": kind, "relevant": relevant, "words": boxes}


def _names(page: Page) -> set[str]:
    return {name for mark in page.marks for name in mark.names}


def _boxes(page: Page, name: str) -> list[list[int]]:
    return [[round(edge) for edge in mark.box] for mark in page.marks if name in mark.names]


if __name__ == "__main__":
    main()
