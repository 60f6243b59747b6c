"""Gradients of a batch that does not fit into memory at once (Gao et al., "GradCache", arXiv:2101.06983).

A loss with in-batch negatives needs all vectors of a batch together, but not what was computed on the way to them. So
every part of the batch is embedded twice: first for its vectors alone, whose gradients the loss then gives; and again,
to lead these on to the weights.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Embed = Callable[[Sequence[T]], list[Tensor]]
"""Inputs to their rows, [n_rows, dim] each."""
Loss = Callable[[list[Tensor], list[Tensor]], Tensor]
"""Rows of all queries and of all pages to one number."""


def backward(embed: Embed[T], queries: Sequence[T], pages: Sequence[T], loss: Loss, part_size: int) -> Tensor:
    """Add the gradients of `loss` over a whole batch to the weights; returns the loss, detached.

    `part_size` inputs are in memory at once. The result is that of the whole batch at once; with dropout it is that of
    the vectors which the first embedding gave, for the second drops the same.
    """
    batch = [*parts(queries, part_size), *parts(pages, part_size)]
    if len(batch) == 2:
        return _backward_at_once(embed, queries, pages, loss)
    states, vectors = [], []
    for part in batch:
        states.append(RandomState.now())
        with torch.no_grad():
            vectors.append([rows.detach().requires_grad_() for rows in embed(part)])
    value = _backward_to_vectors(vectors, len(queries), loss)
    for part, state, targets in zip(batch, states, vectors, strict=True):
        with state.again():
            torch.autograd.backward(embed(part), [rows.grad for rows in targets])
    return value


@dataclass(frozen=True, slots=True)
class RandomState:
    """Where the random numbers of dropout stand, on the CPU and on every GPU, NVIDIA's or Apple's."""

    cpu: Tensor
    gpus: tuple[Tensor, ...]
    apple: Tensor | None = None

    @classmethod
    def now(cls) -> Self:
        return cls(
            torch.get_rng_state(),
            tuple(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else (),
            torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
        )

    @contextmanager
    def again(self) -> Iterator[None]:
        """The same random numbers as then; afterwards they go on from where they are now."""
        before = type(self).now()
        self._set()
        try:
            yield
        finally:
            before._set()

    def _set(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.gpus:
            torch.cuda.set_rng_state_all(list(self.gpus))
        if self.apple is not None:
            torch.mps.set_rng_state(self.apple)


def _backward_at_once(embed: Embed[T], queries: Sequence[T], pages: Sequence[T], loss: Loss) -> Tensor:
    value = loss(embed(queries), embed(pages))
    value.backward()  # type: ignore[no-untyped-call]
    return value.detach()


def _backward_to_vectors(vectors: Sequence[Sequence[Tensor]], n_queries: int, loss: Loss) -> Tensor:
    """Give every row its gradient."""
    rows = [own for part in vectors for own in part]
    value = loss(rows[:n_queries], rows[n_queries:])
    value.backward()  # type: ignore[no-untyped-call]
    return value.detach()


def parts(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """In their order, `size` in each but the last one."""
    return [items[start : start + size] for start in range(0, len(items), size)]
