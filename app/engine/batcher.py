"""Brings inputs of many requests together into batches for one model."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field

from app.core.errors import ManyvecError, ShuttingDownError
from app.core.types import Embedding
from app.families.base import Padding, Prepared


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large a batch may be and how long it may wait."""

    max_batch_tokens: int = 16384
    """Tokens in a batch, padding included; an input that is longer is computed alone."""
    max_batch_items: int = 64
    max_wait_ms: float = 2.0
    """How long the oldest entry waits for inputs that are being prepared, in milliseconds."""
    padding: Padding = Padding.ALL

    @property
    def by_length(self) -> bool:
        """True if inputs of near-equal length go best together."""
        return self.padding is not Padding.NONE

    def size(self, n_tokens: int, n_items: int, longest: int) -> int:
        """What `max_batch_tokens` counts of a batch of `n_items` with `n_tokens` in all."""
        return n_items * longest if self.by_length else n_tokens


@dataclass(slots=True, eq=False)
class Entry:
    """One prepared input and the promise of its embedding. Cancelling the future drops the entry."""

    prepared: Prepared
    future: Future[Embedding] = field(default_factory=Future)
    context: Context = field(default_factory=copy_context)
    """Of the request that it belongs to; what is logged about it is logged there."""
    submitted_at: float = 0.0
    """By the batcher's clock, in seconds."""
    queue_s: float = 0.0
    """How long it waited for its batch, known once that is taken."""
    model_s: float = 0.0
    """From then to its answer."""

    def fail(self, error: BaseException) -> None:
        """Answer with an error, unless it has been answered or the caller left."""
        if not self.future.done():
            self.future.set_exception(error)


class Batcher:
    """A queue between request threads (`submit`) and the threads of workers (`take`, `done`)."""

    def __init__(self, limits: BatchLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._waiting: list[Entry] = []
        self._changed = threading.Condition()
        self._closed = False
        self._n_expected = 0
        """Inputs that are being prepared and will be submitted in a moment."""
        self._n_computing = 0
        """Batches that are taken and not done."""

    @contextmanager
    def expecting(self, n_items: int) -> Iterator[None]:
        """Around the preparation of inputs: a batch that would leave meanwhile waits for them."""
        self._expect(n_items)
        try:
            yield
        finally:
            self._expect(-n_items)

    def submit(self, entry: Entry) -> Future[Embedding]:
        """Queue an entry. Raises `ShuttingDownError` once the batcher is closed."""
        with self._changed:
            if self._closed:
                raise ShuttingDownError("The model is being unloaded; send the request again.")
            entry.submitted_at = self._clock()
            self._waiting.append(entry)
            self._changed.notify_all()
        return entry.future

    def take(self) -> list[Entry] | None:
        """Wait for the next batch; None when the batcher is closed and empty. Whoever takes one says when it is `done`.

        While others are computed it is a full one: what has to wait for the device may as well wait for company. The
        entries' futures are running: they can no longer be cancelled.
        """
        with self._changed:
            while True:
                self._drop_cancelled()
                if not self._waiting:
                    if self._closed:
                        return None
                    self._changed.wait()
                elif self._n_computing and not self._has_full_batch():
                    self._changed.wait()
                elif (wait_s := self._wait_for_company_s()) > 0:
                    self._changed.wait(wait_s)
                elif batch := self._pop_batch():
                    self._n_computing += 1
                    return batch

    def done(self) -> None:
        """A batch that was taken is computed."""
        with self._changed:
            self._n_computing -= 1
            self._changed.notify_all()

    def n_waiting(self) -> int:
        """Entries that wait for a batch and whose callers do too."""
        with self._changed:
            return sum(not entry.future.cancelled() for entry in self._waiting)

    def n_computed(self, batch: Sequence[Entry]) -> int:
        """Tokens that the model computes for a batch, padding included."""
        lengths = [entry.prepared.n_tokens for entry in batch]
        return len(lengths) * max(lengths) if self._limits.padding is Padding.ALL else sum(lengths)

    def close(self) -> None:
        """Take no more entries; what waits is still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self, error: ManyvecError) -> None:
        """Close, and answer everything that waits with `error`."""
        with self._changed:
            self._closed = True
            abandoned, self._waiting = self._waiting, []
            self._changed.notify_all()
        for entry in abandoned:
            entry.fail(error)

    def _expect(self, n_items: int) -> None:
        with self._changed:
            self._n_expected += n_items
            self._changed.notify_all()

    def _drop_cancelled(self) -> None:
        self._waiting = [entry for entry in self._waiting if not entry.future.cancelled()]

    def _wait_for_company_s(self) -> float:
        """Seconds left until the next batch must leave; 0 if it is full or nobody is on the way."""
        if not self._n_expected or self._has_full_batch():
            return 0.0
        return self._waiting[0].submitted_at + self._limits.max_wait_ms / 1000 - self._clock()

    def _has_full_batch(self) -> bool:
        tokens = sum(entry.prepared.n_tokens for entry in self._waiting)
        return tokens >= self._limits.max_batch_tokens or len(self._waiting) >= self._limits.max_batch_items

    def _pop_batch(self) -> list[Entry]:
        chosen = select_batch(self._waiting, self._limits)
        taken = set(chosen)
        self._waiting = [entry for entry in self._waiting if entry not in taken]
        # False: the caller left between the last check and now.
        batch = [entry for entry in chosen if entry.future.set_running_or_notify_cancel()]
        now = self._clock()
        for entry in batch:
            entry.queue_s = now - entry.submitted_at
        return batch


def select_batch(waiting: Sequence[Entry], limits: BatchLimits) -> list[Entry]:
    """The oldest entry and those that go best with it: equal batch key, within the limits.

    Where batches are padded these are the nearest in length, elsewhere the next in the queue. The oldest is
    always in, so an entry waits at most for those that came before it.
    """
    oldest = waiting[0]
    company = [entry for entry in waiting[1:] if entry.prepared.batch_key == oldest.prepared.batch_key]
    if limits.by_length:
        company.sort(key=lambda entry: abs(entry.prepared.n_tokens - oldest.prepared.n_tokens))
    batch, n_tokens, longest = [oldest], oldest.prepared.n_tokens, oldest.prepared.n_tokens
    for entry in company:
        n_tokens += entry.prepared.n_tokens
        longest = max(longest, entry.prepared.n_tokens)
        n_items = len(batch) + 1
        if n_items > limits.max_batch_items or limits.size(n_tokens, n_items, longest) > limits.max_batch_tokens:
            break
        batch.append(entry)
    return batch
