"""Batches as the engine makes them of inputs that all wait."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def batches_by_length(items: Sequence[T], length: Callable[[T], int], most: int) -> list[list[T]]:
    """In ascending length, at most that many tokens a batch, counted with padding; a longer item is alone."""
    made: list[list[T]] = [[]]
    for item in sorted(items, key=length):
        if made[-1] and (len(made[-1]) + 1) * length(item) > most:
            made.append([])
        made[-1].append(item)
    return made
