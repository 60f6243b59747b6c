"""Work in portions, with a bar where somebody watches."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def batches(items: Sequence[T], size: int, label: str) -> Iterator[list[T]]:
    """Runs of `size` items, the last one shorter. The bar is drawn on terminals only."""
    with tqdm(total=len(items), desc=label, disable=None, leave=False) as bar:
        for start in range(0, len(items), size):
            portion = list(items[start : start + size])
            yield portion
            bar.update(len(portion))
