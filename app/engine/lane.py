"""Queries and bulk work of one model go through lanes of their own, so that a search never waits for an ingest.

Each lane has a batcher and a worker thread. While both are at work the operating system divides the processor (the
driver the GPU) between them, so neither starves; while one is idle the other has everything.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from app.core.types import Embedding
from app.engine.batcher import Batcher, BatchLimits, Entry
from app.engine.model_worker import ModelWorker
from app.families.base import EmbeddingModel, Prepared


class PrepareThreads:
    """The threads that tokenize, decode and resize, for all models; queries have one that no page can occupy."""

    def __init__(self, n_threads: int) -> None:
        self.queries = ThreadPoolExecutor(1, thread_name_prefix="prepare-query")
        self.bulk = ThreadPoolExecutor(n_threads, thread_name_prefix="prepare")

    def close(self) -> None:
        """Drop what has not begun."""
        for threads in (self.queries, self.bulk):
            threads.shutdown(wait=False, cancel_futures=True)


class Lane:
    """One queue before a model, with the threads that fill and empty it. Used from one event loop."""

    def __init__(self, name: str, model: EmbeddingModel, limits: BatchLimits, threads: Executor) -> None:
        self._batcher = Batcher(limits)
        self._worker = ModelWorker(name, model, self._batcher)
        self._threads = threads
        self._worker.start()

    async def encode(self, n_items: int, prepare: Callable[[], Sequence[Prepared]]) -> list[Embedding]:
        """Run `prepare` in a thread, which gives `n_items`, and wait for their embeddings.

        Cancelling the call drops what has not been computed yet.
        """
        futures = [Future[Embedding]() for _ in range(n_items)]

        def prepare_and_submit() -> None:
            for prepared, future in zip(prepare(), futures, strict=True):
                self._batcher.submit(Entry(prepared, future))

        try:
            with self._batcher.expecting(n_items):
                await asyncio.get_running_loop().run_in_executor(self._threads, prepare_and_submit)
            return await asyncio.gather(*map(asyncio.wrap_future, futures))
        finally:
            # Of a caller that left while its inputs were still being prepared; done futures are not touched.
            for future in futures:
                future.cancel()

    def is_healthy(self, stuck_after_s: float) -> bool:
        return self._worker.is_healthy(stuck_after_s)

    def close(self) -> None:
        """Finish what was accepted. Blocks."""
        self._worker.close()
