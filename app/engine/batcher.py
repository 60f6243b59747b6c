"""Brings inputs of many requests together into batches for one model."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain

from app.core.errors import ManyvecError, ShuttingDownError
from app.engine.job import Job
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


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One prepared input of a job."""

    job: Job
    index: int
    """Its place in the job."""
    prepared: Prepared


class Batcher:
    """A queue between request threads (`expect`, `submit`, `drop`) and the threads of workers (`take`, `done`)."""

    def __init__(self, limits: BatchLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._expected: set[Job] = set()
        """Their inputs are being prepared and will be submitted in a moment."""
        self._waiting: list[Entry] = []
        self._n_tokens = 0
        """Of those that wait."""
        self._dropped: set[Job] = set()
        """Their inputs may still be among those that wait: whoever looks there next takes them out, all at a time."""
        self._changed = threading.Condition()
        self._closed: ManyvecError | None = None
        """What is said to those who come too late."""
        self._interactive_next = True
        """Whose turn it is where both kinds of jobs wait."""
        self._n_computing = 0
        """Batches that are taken and not done."""

    def expect(self, job: Job) -> None:
        """Its inputs are on their way: a batch that would leave meanwhile waits for them.

        Raises `ShuttingDownError` once the batcher is closed, or what it was aborted with.
        """
        with self._changed:
            if self._closed:
                raise self._closed
            self._expected.add(job)

    def expects(self, job: Job) -> bool:
        """False once it is submitted or dropped."""
        return job in self._expected

    def submit(self, job: Job, prepared: Sequence[Prepared]) -> None:
        """Queue an expected job's inputs, in their order; those of another are let go.

        Raises `ValueError` if they are more or fewer than the job's.
        """
        entries = [Entry(job, index, one) for index, one in zip(range(job.n_items), prepared, strict=True)]
        n_tokens = sum(one.n_tokens for one in prepared)
        with self._changed:
            if job in self._expected:
                self._expected.remove(job)
                job.submitted_at = self._clock()
                self._waiting += entries
                self._n_tokens += n_tokens
                self._changed.notify_all()

    def drop(self, job: Job) -> None:
        """Nobody waits for it any more: none of its inputs is handed out from now on."""
        with self._changed:
            if job in self._expected:
                self._expected.remove(job)
            else:
                self._dropped.add(job)
            self._changed.notify_all()

    def take(self) -> list[Entry] | None:
        """Wait for the next batch; None when the batcher is closed and empty. Whoever takes one says when it is `done`.

        While others are computed it is a full one: what has to wait for the device may as well wait for company.
        """
        with self._changed:
            while True:
                self._take_dropped_out()
                if not self._waiting:
                    if self._closed:
                        return None
                    self._changed.wait()
                elif self._n_computing and not self._has_full_batch():
                    self._changed.wait()
                elif (wait_s := self._wait_for_company_s()) > 0:
                    self._changed.wait(wait_s)
                else:
                    self._n_computing += 1
                    return self._pop_batch()

    def done(self) -> None:
        """A batch that was taken is computed."""
        with self._changed:
            self._n_computing -= 1
            self._changed.notify_all()

    def n_waiting(self) -> int:
        """Inputs that wait for a batch and whose callers do, too."""
        with self._changed:
            self._take_dropped_out()
            return len(self._waiting)

    def n_computed(self, batch: Sequence[Entry]) -> int:
        """Tokens that the model computes for a batch, padding included."""
        lengths = [entry.prepared.n_tokens for entry in batch]
        return len(lengths) * max(lengths) if self._limits.padding is Padding.ALL else sum(lengths)

    def close(self) -> None:
        """Expect nothing more; what waits is still handed out."""
        self._close(ShuttingDownError("The model is being unloaded; send the request again."))

    def abort(self, error: ManyvecError) -> None:
        """Answer everything that waits, and that comes from now on, with `error`."""
        self._close(error)
        with self._changed:
            abandoned = self._waiting
            self._keep([])
            self._changed.notify_all()
        for entry in abandoned:
            entry.job.fail(error)

    def _close(self, error: ManyvecError) -> None:
        with self._changed:
            self._closed = self._closed or error
            late, self._expected = self._expected, set()
            self._changed.notify_all()
        for job in late:
            job.fail(error)

    def _wait_for_company_s(self) -> float:
        """Seconds left until the next batch must leave; 0 if it is full or nobody is on the way."""
        if not self._expected or self._has_full_batch():
            return 0.0
        return self._waiting[0].job.submitted_at + self._limits.max_wait_ms / 1000 - self._clock()

    def _has_full_batch(self) -> bool:
        """True if another input like those that wait would not fit in."""
        n_items = len(self._waiting)
        return (
            n_items >= self._limits.max_batch_items
            or self._n_tokens * (n_items + 1) > self._limits.max_batch_tokens * n_items
        )

    def _take_dropped_out(self) -> None:
        if self._dropped:
            self._keep([entry for entry in self._waiting if entry.job not in self._dropped])
            self._dropped.clear()

    def _pop_batch(self) -> list[Entry]:
        batch = select_batch(self._waiting, self._limits, interactive_first=self._interactive_next)
        self._interactive_next = not (self._interactive_next and batch[0].job.interactive)
        taken = set(batch)
        self._keep([entry for entry in self._waiting if entry not in taken])
        return batch

    def _keep(self, waiting: list[Entry]) -> None:
        self._waiting = waiting
        self._n_tokens = sum(entry.prepared.n_tokens for entry in waiting)


def select_batch(waiting: Sequence[Entry], limits: BatchLimits, *, interactive_first: bool = False) -> list[Entry]:
    """The oldest entry and those that go best with it: equal batch key, within the limits.

    Where batches are padded these are the nearest in length, elsewhere the next in the queue. The oldest is
    always in, so an entry waits at most for those that came before it. With `interactive_first` all this goes for
    the interactive entries, if there are any, and the others fill the batch up.
    """
    interactive = [entry for entry in waiting if entry.job.interactive] if interactive_first else []
    others = [entry for entry in waiting if not entry.job.interactive] if interactive else waiting
    oldest = (interactive or others)[0]
    batch, n_tokens, longest = [oldest], oldest.prepared.n_tokens, oldest.prepared.n_tokens
    for entry in chain(_company(oldest, interactive, limits), _company(oldest, others, limits)):
        n_tokens += entry.prepared.n_tokens
        longest = max(longest, entry.prepared.n_tokens)
        n_items = len(batch) + 1
        if n_items > limits.max_batch_items or limits.size(n_tokens, n_items, longest) > limits.max_batch_tokens:
            break
        batch.append(entry)
    return batch


def _company(oldest: Entry, entries: Sequence[Entry], limits: BatchLimits) -> Sequence[Entry]:
    """Those that may share its batch, the best first."""
    able = [e for e in entries if e.prepared.batch_key == oldest.prepared.batch_key and e is not oldest]
    if not limits.by_length:
        return able
    return nsmallest(
        limits.max_batch_items - 1, able, key=lambda e: abs(e.prepared.n_tokens - oldest.prepared.n_tokens)
    )
