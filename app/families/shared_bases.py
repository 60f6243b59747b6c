"""Weights that several models use, in memory once: a base, for its own model and for LoRA adapters over it."""

import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, Protocol, TypeVar

Weights = TypeVar("Weights", bound="HasMemory", covariant=True)


class HasMemory(Protocol):
    """Something loaded that knows its size."""

    @property
    def memory_bytes(self) -> int: ...


class Share(Generic[Weights]):
    """One model's hold on a base: its weights stay in memory until the last share is closed or forgotten."""

    def __init__(self, base: "_Base[Weights]") -> None:
        self._base: _Base[Weights] | None = base

    @property
    def weights(self) -> Weights:
        assert self._base is not None  # noqa: S101 - a closed model is not used
        return self._base.weights

    @property
    def memory_bytes(self) -> int:
        """Bytes of the base if this is the oldest share of it, else 0: over all shares each base counts once."""
        base = self._base
        return base.weights.memory_bytes if base is not None and base.oldest() is self else 0

    def close(self) -> None:
        """Let go of the base."""
        self._base = None


class SharedBases:
    """The bases in memory. It keeps none of them alive; their shares do."""

    def __init__(self) -> None:
        self._bases: weakref.WeakValueDictionary[Hashable, _Base[Any]] = weakref.WeakValueDictionary()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._bases

    def share(self, key: Hashable, load: Callable[[], Weights]) -> Share[Weights]:
        """A share of the base of that key, which is loaded unless it is in memory. Called from one thread at a time."""
        base: _Base[Weights] | None = self._bases.get(key)
        if base is None:
            base = self._bases[key] = _Base(load())
        return base.share()


class _Base(Generic[Weights]):
    """Weights and their shares."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        # Weak: a share that was lost in a failed load must not count.
        self._shares: list[weakref.ref[Share[Weights]]] = []

    def share(self) -> Share[Weights]:
        share = Share(self)
        # Read from any thread, so the list itself is never changed.
        self._shares = [weakref.ref(one) for one in (*self._living(), share)]
        return share

    def oldest(self) -> Share[Weights] | None:
        """Within a memory budget every share asks after each request: it looks no further than the first that lives."""
        return next(self._living(), None)

    def _living(self) -> Iterator[Share[Weights]]:
        return (share for ref in self._shares if (share := ref()) and share._base is self)
