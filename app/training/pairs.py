"""Training texts as they are sent: lines of tab-separated parts."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import BadInputError, TooLargeError
from app.training.disk import write_durably
from app.training.jobs import Dataset
from app.training.pairs_split import TextPair
from app.training.task import DATASET_FILE

LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class TextPairs:
    """What was understood of a text."""

    pairs: tuple[TextPair, ...]
    """All of them with a hard negative, or none."""
    n_ignored: int
    """Other lines that are not blank."""


def read_pairs(text: str, *, hard_negatives: bool, max_pairs: int, max_chars: int) -> TextPairs:
    """Split at line ends and tabs; each line has exactly two parts, or three with `hard_negatives`, none of them empty.

    Other lines are ignored. Raises `BadInputError` if none is left, `TooLargeError`.
    """
    n_parts = 3 if hard_negatives else 2
    pairs, n_ignored = [], 0
    for line in LINE_END.split(text):
        parts = tuple(part.strip() for part in line.split("\t"))
        if len(parts) == n_parts and all(parts):
            pairs.append(TextPair(*parts))
        elif line.strip():
            n_ignored += 1
        _check_size(parts, len(pairs), max_pairs, max_chars)
    if not pairs:
        wanted = "query, tab, passage, tab, hard negative" if hard_negatives else "query, tab, passage"
        raise BadInputError(f"text_content has no training pair: each line is `{wanted}`, and no part may be empty.")
    return TextPairs(tuple(pairs), n_ignored)


def write_pairs(pairs: TextPairs, folder: Path) -> Dataset:
    """Write the job's dataset."""
    content = "".join(_lines(pairs)).encode()
    write_durably(folder / DATASET_FILE, content)
    return Dataset(len(pairs.pairs), pairs.n_ignored, hashlib.sha256(content).hexdigest())


def _lines(pairs: TextPairs) -> Iterator[str]:
    for pair in pairs.pairs:
        fields = {"query": pair.query, "positive": pair.positive, "negative": pair.negative}
        yield json.dumps({name: text for name, text in fields.items() if text is not None}, ensure_ascii=False) + "\n"


def _check_size(parts: tuple[str, ...], n_pairs: int, max_pairs: int, max_chars: int) -> None:
    if n_pairs > max_pairs:
        raise TooLargeError(f"At most {max_pairs} training pairs are accepted; send a part of them.")
    if any(len(part) > max_chars for part in parts):
        raise TooLargeError(f"A part of a line is longer than the limit of {max_chars} characters; split it.")
