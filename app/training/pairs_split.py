"""The training pairs of texts, and which of them are held out."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.training.task import TrainingFailedError

FEWEST_TO_SPLIT = 10
"""With fewer pairs all are trained on, and nothing is measured."""
MOST_HELD_OUT = 1000
"""Pairs; more would cost time and say no more."""


@dataclass(frozen=True, slots=True)
class TextPair:
    """A query, a passage that answers it, and perhaps one that does not though it looks so."""

    query: str
    positive: str
    negative: str | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """The pairs that are trained on, and those that are held out; they share no query and no passage."""

    train: tuple[TextPair, ...]
    held_out: tuple[TextPair, ...]


def read_text_pairs(file: Path) -> list[TextPair]:
    """The pairs in a dataset of texts. Raises `TrainingFailedError` that names the line and what to change."""
    lines = file.read_bytes().split(b"\n")
    pairs = [_pair(line, number) for number, line in enumerate(lines, start=1) if line.strip()]
    if len({pair.negative is None for pair in pairs}) > 1:
        raise TrainingFailedError(
            "Some lines of the dataset have a hard negative and some have none: give all one, or none."
        )
    return pairs


def split(pairs: Sequence[TextPair], fraction: float, seed: int) -> Split:
    """Hold out about `fraction` of the pairs, drawn by `seed`; the order of the others stays.

    Pairs that share a query or a passage stay together. A group too large to be held out is trained on. Nothing is
    held out of fewer than `FEWEST_TO_SPLIT` pairs.
    """
    wanted = min(round(fraction * len(pairs)), MOST_HELD_OUT) if len(pairs) >= FEWEST_TO_SPLIT else 0
    groups = _groups(pairs)
    random.Random(seed).shuffle(groups)  # noqa: S311 - no secret
    chosen: set[int] = set()
    for group in groups:
        if len(chosen) + len(group) <= wanted:
            chosen.update(group)
    return Split(
        train=tuple(pair for index, pair in enumerate(pairs) if index not in chosen),
        held_out=tuple(pair for index, pair in enumerate(pairs) if index in chosen),
    )


def _pair(line: bytes, number: int) -> TextPair:
    try:
        content = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise TrainingFailedError(f"Line {number} of the dataset is no JSON in UTF-8: correct or delete it.") from None
    names = ("query", "positive", "negative") if _has_negative(content) else ("query", "positive")
    for name in names:
        if not _is_text(content, name):
            raise TrainingFailedError(f"Line {number} of the dataset has no text as its {name}: correct or delete it.")
    return TextPair(*(content[name] for name in names))


def _has_negative(content: Any) -> bool:
    return isinstance(content, dict) and content.get("negative") is not None


def _is_text(content: Any, name: str) -> bool:
    text = content.get(name) if isinstance(content, dict) else None
    return isinstance(text, str) and bool(text.strip())


def _groups(pairs: Sequence[TextPair]) -> list[list[int]]:
    """Indices of pairs that are linked by equal queries or equal passages, in the order of their first pairs."""
    parents = list(range(len(pairs)))
    first: dict[tuple[str, str], int] = {}
    for index, pair in enumerate(pairs):
        for key in (("query", pair.query), ("positive", pair.positive)):
            parents[_root(parents, index)] = _root(parents, first.setdefault(key, index))
    groups: dict[int, list[int]] = {}
    for index in range(len(pairs)):
        groups.setdefault(_root(parents, index), []).append(index)
    return list(groups.values())


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index


def columns(pairs: Sequence[TextPair]) -> dict[str, list[str]]:
    """By name, as sentence-transformers' losses want them: query, positive and, if there are any, negative."""
    return dict(_columns(pairs))


def _columns(pairs: Sequence[TextPair]) -> Iterator[tuple[str, list[str]]]:
    yield "query", [pair.query for pair in pairs]
    yield "positive", [pair.positive for pair in pairs]
    negatives = [pair.negative for pair in pairs if pair.negative is not None]
    if negatives:
        yield "negative", negatives
