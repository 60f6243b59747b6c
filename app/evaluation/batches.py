"""Work in portions, with a bar where somebody watches."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def portions(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Runs of `size` items, the last one shorter."""
    return (list(items[start : start + size]) for start in range(0, len(items), size))


def batches(items: Sequence[T], size: int, label: str) -> Iterator[list[T]]:
    """The same with a bar, which is drawn on terminals only."""
    with tqdm(total=len(items), desc=label, disable=None, leave=False) as bar:
        for portion in portions(items, size):
            yield portion
            bar.update(len(portion))
