"""Queries and bulk work of one model go through lanes of their own, so that a search never waits for an ingest.

Each lane has a batcher and a worker thread, or several. While both lanes are at work the operating system divides the
processor between them, so neither starves, and a GPU computes queries first; while one is idle the other has it all.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context

from app.core.trace import note_phase
from app.core.types import Embedding
from app.engine.batcher import Batcher, BatchLimits, Entry
from app.engine.metrics import LaneMetrics
from app.engine.model_worker import ModelWorker
from app.families.base import EmbeddingModel, Prepared


class PrepareThreads:
    """The threads that tokenize, decode and resize, for all models; queries have one that no page can occupy."""

    def __init__(self, n_threads: int | None = None) -> None:
        """None: half of the cores, and two at least; the others are the models'."""
        n_threads = n_threads or max(2, (os.cpu_count() or 1) // 2)
        self.queries = ThreadPoolExecutor(1, thread_name_prefix="prepare-query")
        self.bulk = ThreadPoolExecutor(n_threads, thread_name_prefix="prepare")

    def close(self) -> None:
        """Drop what has not begun."""
        for threads in (self.queries, self.bulk):
            threads.shutdown(wait=False, cancel_futures=True)


class Job:
    """Inputs of one request that are prepared together."""

    def __init__(self, n_items: int, prepare: Callable[[], Sequence[Prepared]], accepted_at: float) -> None:
        self.prepare = prepare
        self.accepted_at = accepted_at
        self.futures = [Future[Embedding]() for _ in range(n_items)]
        self.entries: list[Entry] = []
        """Once they are prepared."""
        self.wait_s = 0.0
        """For a thread."""
        self.prepare_s = 0.0

    def note_phases(self) -> None:
        """Tell the request what its inputs spent their time on."""
        note_phase("queue", self.wait_s + max(entry.queue_s for entry in self.entries))
        note_phase("prepare", self.prepare_s)
        note_phase("model", max(entry.model_s for entry in self.entries))


class Lane:
    """One queue before a model, with the threads that fill and empty it. Used from one event loop."""

    def __init__(
        self,
        name: str,
        model: EmbeddingModel,
        limits: BatchLimits,
        threads: Executor,
        metrics: LaneMetrics,
        n_workers: int = 1,
        urgent: bool = False,
    ) -> None:
        self._batcher = Batcher(limits)
        self._workers = [
            ModelWorker(f"{name}-{number}", model, self._batcher, metrics, urgent=urgent) for number in range(n_workers)
        ]
        self._threads = threads
        self._metrics = metrics
        for worker in self._workers:
            worker.start()

    async def encode(
        self, n_items: int, prepare: Callable[[], Sequence[Prepared]], accepted_at: float
    ) -> list[Embedding]:
        """Run `prepare` in a thread, which gives `n_items`, and wait for their embeddings.

        Cancelling the call drops what has not been computed yet. `accepted_at`: when the inputs came, by
        `time.monotonic`.
        """
        job = Job(n_items, prepare, accepted_at)
        in_request = copy_context().run
        try:
            with self._batcher.expecting(n_items):
                await asyncio.get_running_loop().run_in_executor(self._threads, in_request, self._prepare, job)
            embeddings = await asyncio.gather(*map(asyncio.wrap_future, job.futures))
        finally:
            # Of a caller that left while its inputs were still being prepared; done futures are not touched.
            for future in job.futures:
                future.cancel()
        job.note_phases()
        return embeddings

    def n_waiting(self) -> int:
        """Inputs that are prepared and wait for a batch."""
        return self._batcher.n_waiting()

    def is_healthy(self, stuck_after_s: float) -> bool:
        return all(worker.is_healthy(stuck_after_s) for worker in self._workers)

    def close(self) -> None:
        """Finish what was accepted. Blocks."""
        for worker in self._workers:
            worker.close()

    def _prepare(self, job: Job) -> None:
        """Prepare and queue a job's inputs."""
        began = time.monotonic()
        job.wait_s = began - job.accepted_at
        try:
            prepared = job.prepare()
        finally:
            job.prepare_s = time.monotonic() - began
            self._metrics.prepared(job.wait_s, job.prepare_s)
        job.entries = [Entry(one, future) for one, future in zip(prepared, job.futures, strict=True)]
        for entry in job.entries:
            self._batcher.submit(entry)
