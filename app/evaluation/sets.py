"""The evaluation sets on disk: what is searched, what is asked, what ought to be found."""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from app.core.types import IntArray
from app.evaluation.errors import EvaluationError
from app.evaluation.metrics import BoolArray, Box

DATA = Path(__file__).parent / "data"
"""Sets that come with the server; another folder may hold others in the same form."""

TEXTS_FILE = "man_pages.json.gz"
PAGES_FOLDER = "pages"
PICTURES_FOLDER = "pictures"
DIGITS_FILE = "digits.npz"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TextQuery:
    """A search text."""

    text: str
    language: str
    """`en`, `de`, ..."""
    relevant: frozenset[int]
    """Indices of the documents that answer it."""


@dataclass(frozen=True, slots=True)
class TextSet:
    """Texts to be found, and search texts in several languages."""

    documents: tuple[str, ...]
    queries: tuple[TextQuery, ...]

    @property
    def languages(self) -> list[str]:
        """In the order of their first query."""
        return list(dict.fromkeys(query.language for query in self.queries))


@dataclass(frozen=True, slots=True)
class QueryWord:
    """A word of a query, and where it stands."""

    text: str
    page: int
    """Index of the page."""
    boxes: tuple[Box, ...]
    """In pixels of the page image."""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """A search text for pages."""

    text: str
    kind: str
    """`words`, `question`, `shapes`, ...; `unseen`: of words that no training page has."""
    relevant: frozenset[int]
    """Indices of the pages that answer it."""
    words: tuple[QueryWord, ...]


@dataclass(frozen=True, slots=True)
class PageSet:
    """Pages to be found, and search texts of several kinds."""

    pages: tuple[bytes, ...]
    """Encoded image files."""
    queries: tuple[PageQuery, ...]


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Pictures to be recognized after a change, pictures with objects on a background, and handwritten digits."""

    gallery: tuple[bytes, ...]
    """Encoded image files."""
    changed: Mapping[str, tuple[bytes, ...]]
    """By the name of the change: number i was made of number i of the gallery."""
    scenes: tuple[bytes, ...]
    objects: BoolArray
    """Is most of this part of a scene an object: [n_scenes, n_rows, n_columns]."""
    digits: NDArray[np.uint8]
    """[n, 8, 8] from 0, paper, to 16, ink."""
    labels: IntArray
    """[n]"""
    is_test: BoolArray
    """[n]"""


def read_text_set(folder: Path = DATA) -> TextSet:
    """`man_pages.json.gz`: `{"documents": [{"id", "text"}], "queries": [{"lang", "text", "relevant": [id]}]}`.

    Raises `EvaluationError`.
    """
    content = _read(folder / TEXTS_FILE, lambda file: json.loads(gzip.decompress(file.read_bytes())))
    return _parsed(TEXTS_FILE, _text_set, content)


def read_page_set(folder: Path = DATA) -> PageSet:
    """`pages/pages.zip` of image files in the order of their names, and `pages/queries.json`: `{"queries": [{"text",
    "kind", "relevant": [page], "words": [{"text", "page", "boxes": [[x0, y0, x1, y1]]}]}]}`.

    Raises `EvaluationError`.
    """
    pages = _read(folder / PAGES_FOLDER / "pages.zip", _members)
    content = _read(folder / PAGES_FOLDER / "queries.json", lambda file: json.loads(file.read_bytes()))
    return PageSet(tuple(pages.values()), _parsed("queries.json", _page_queries, content))


def read_picture_set(folder: Path = DATA) -> PictureSet:
    """`pictures/`: `gallery.zip`, one `<change>.zip` a change, `probe.zip` of scenes with `probe.npz` (`objects`);
    beside it `digits.npz` (`images`, `labels`, `is_test`). Archives hold image files in the order of their names.

    Raises `EvaluationError`.
    """
    pictures = folder / PICTURES_FOLDER
    changes = sorted(file.stem for file in pictures.glob("*.zip") if file.stem not in ("gallery", "probe"))
    digits = _read(folder / DIGITS_FILE, _arrays)
    return PictureSet(
        gallery=tuple(_read(pictures / "gallery.zip", _members).values()),
        changed={change: tuple(_read(pictures / f"{change}.zip", _members).values()) for change in changes},
        scenes=tuple(_read(pictures / "probe.zip", _members).values()),
        objects=_parsed("probe.npz", lambda arrays: arrays["objects"], _read(pictures / "probe.npz", _arrays)),
        digits=_parsed(DIGITS_FILE, lambda arrays: arrays["images"], digits),
        labels=_parsed(DIGITS_FILE, lambda arrays: arrays["labels"].astype(np.int64), digits),
        is_test=_parsed(DIGITS_FILE, lambda arrays: arrays["is_test"], digits),
    )


def _arrays(file: Path) -> dict[str, Any]:
    with np.load(file) as arrays:
        return dict(arrays)


def _members(file: Path) -> Mapping[str, bytes]:
    with ZipFile(file) as archive:
        return {name: archive.read(name) for name in sorted(archive.namelist())}


def _text_set(content: Any) -> TextSet:
    place = {document["id"]: index for index, document in enumerate(content["documents"])}
    queries = (
        TextQuery(query["text"], query["lang"], frozenset(place[name] for name in query["relevant"]))
        for query in content["queries"]
    )
    return TextSet(tuple(document["text"] for document in content["documents"]), tuple(queries))


def _page_queries(content: Any) -> tuple[PageQuery, ...]:
    return tuple(
        PageQuery(
            query["text"],
            query["kind"],
            frozenset(query["relevant"]),
            tuple(
                QueryWord(word["text"], word["page"], tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in word["boxes"]))
                for word in query["words"]
            ),
        )
        for query in content["queries"]
    )


def _read(file: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(file)
    except FileNotFoundError as error:
        raise EvaluationError(f"The set is not there: {file} is missing.") from error
    except (OSError, ValueError, BadZipFile, EOFError) as error:
        raise EvaluationError(f"{file} is broken or cannot be read.") from error


def _parsed(name: str, parse: Callable[[Any], T], content: Any) -> T:
    try:
        return parse(content)
    except (KeyError, TypeError, ValueError) as error:
        raise EvaluationError(f"{name} has not the form of its set.") from error
