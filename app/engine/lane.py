"""Queries and bulk work of one model go through lanes of their own, so that a search never waits for an ingest.

Each lane has a batcher and a worker thread, or several. While both lanes are at work the operating system divides the
processor between them, so neither starves, and a GPU computes queries first; while one is idle the other has it all.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial

from app.core.errors import ShuttingDownError
from app.core.processors import n_processors
from app.core.types import Embedding
from app.engine.batcher import Batcher, BatchLimits
from app.engine.job import Job
from app.engine.metrics import LaneMetrics
from app.engine.model_worker import ModelWorker
from app.families.base import EmbeddingModel, Prepared


class PrepareThreads:
    """The threads that tokenize, decode and resize, for all models; queries have one that no page can occupy, and
    interactive requests one that no ingest can.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        """None: half of the cores, and two at least; the others are the models'."""
        n_threads = n_threads or max(2, n_processors() // 2)
        self.queries = ThreadPoolExecutor(1, thread_name_prefix="prepare-query")
        self.interactive = ThreadPoolExecutor(1, thread_name_prefix="prepare-interactive")
        self.bulk = ThreadPoolExecutor(n_threads, thread_name_prefix="prepare")

    def close(self) -> None:
        """Drop what has not begun."""
        for threads in (self.queries, self.interactive, self.bulk):
            threads.shutdown(wait=False, cancel_futures=True)


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
        interactive_threads: Executor | None = None,
    ) -> None:
        """`interactive_threads` prepare inputs of interactive requests; None: the same as all others."""
        self._batcher = Batcher(limits)
        self._workers = [
            ModelWorker(f"{name}-{number}", model, self._batcher, metrics, urgent=urgent) for number in range(n_workers)
        ]
        self._threads = threads
        self._interactive_threads = interactive_threads or threads
        self._metrics = metrics
        for worker in self._workers:
            worker.start()

    async def encode(
        self,
        n_items: int,
        prepare: Callable[[], Sequence[Prepared]],
        accepted_at: float,
        *,
        interactive: bool = False,
        at_once: bool = False,
    ) -> list[Embedding]:
        """Run `prepare`, which gives `n_items`, and wait for their embeddings.

        `prepare` runs in a thread; `at_once`: here and now, since it takes less time than to wake one. Cancelling the
        call drops what has not been computed yet. `accepted_at`: when the inputs came, by `time.monotonic`.
        """
        job = Job(n_items, accepted_at, interactive=interactive)
        self._batcher.expect(job)
        try:
            if at_once:
                self._prepare(job, prepare)
            else:
                threads = self._interactive_threads if interactive else self._threads
                threads.submit(job.context.run, self._prepare, job, prepare).add_done_callback(
                    partial(_fail_with_preparing, job)
                )
            embeddings = await asyncio.wrap_future(job.embeddings)
        except BaseException:
            self._batcher.drop(job)
            # The error holds this frame, which must not hold the error: the inputs would stay in memory.
            del job
            raise
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

    def _prepare(self, job: Job, prepare: Callable[[], Sequence[Prepared]]) -> None:
        """Prepare and queue a job's inputs, unless its caller has left."""
        if not self._batcher.expects(job):
            return
        began = time.monotonic()
        job.wait_s = began - job.accepted_at
        try:
            prepared = prepare()
        except BaseException:
            self._note_end(job, began)
            # As in `encode`.
            del job, prepare
            raise
        self._note_end(job, began)
        self._batcher.submit(job, prepared)

    def _note_end(self, job: Job, began: float) -> None:
        job.prepare_s = time.monotonic() - began
        self._metrics.prepared(job.wait_s, job.prepare_s)


def _fail_with_preparing(job: Job, preparing: Future[None]) -> None:
    """If inputs cannot be prepared, or nobody will prepare them any more since the threads are closed."""
    if preparing.cancelled():
        job.fail(ShuttingDownError("The server is shutting down."))
    elif (error := preparing.exception()) is not None:
        job.fail(error)
