"""A thread that computes for a loaded model."""

import logging
import threading
import time
from collections.abc import Callable

from app.core.errors import ManyvecError, OutOfMemoryError, UnavailableError
from app.core.types import Embedding
from app.engine.batcher import Batcher, Entry
from app.engine.metrics import LaneMetrics
from app.families.base import EmbeddingModel

log = logging.getLogger(__name__)


class ModelWorker:
    """Takes batches, computes them and answers their jobs, until the batcher is closed and empty."""

    def __init__(
        self,
        name: str,
        model: EmbeddingModel,
        batcher: Batcher,
        metrics: LaneMetrics,
        clock: Callable[[], float] = time.monotonic,
        urgent: bool = False,
    ) -> None:
        """What is `urgent` goes first on a device that can tell."""
        self._model = model
        self._batcher = batcher
        self._metrics = metrics
        self._clock = clock
        self._urgent = urgent
        self._busy_since: float | None = None
        self._died = False
        self._thread = threading.Thread(target=self._run, name=f"model-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def is_healthy(self, stuck_after_s: float) -> bool:
        """False if the thread died or has computed one batch for longer than that."""
        busy_since = self._busy_since
        return not self._died and (busy_since is None or self._clock() - busy_since <= stuck_after_s)

    def close(self) -> None:
        """Finish what was accepted, then stop. Blocks."""
        self._batcher.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._model.computing(urgent=self._urgent):
                self._compute_batches()
        except BaseException:
            self._died = True
            log.exception("worker thread %s died", self._thread.name)
        finally:
            self._batcher.abort(UnavailableError("The model stopped; try again."))

    def _compute_batches(self) -> None:
        while (batch := self._batcher.take()) is not None:
            self._busy_since = taken_at = self._clock()
            try:
                self._metrics.taken([taken_at - entry.job.submitted_at for entry in batch])
                self._compute(batch, taken_at)
            except BaseException as error:
                for entry in batch:
                    entry.job.fail(error)
                raise
            self._batcher.done()
            self._busy_since = None
            # Until the next one comes, which may take days: it holds the jobs' inputs and embeddings.
            del batch

    def _compute(self, batch: list[Entry], taken_at: float) -> None:
        """Compute a batch; if it fails as a whole, by halves, so that a bad input fails alone."""
        began = self._clock()
        try:
            results = self._model.encode([entry.prepared for entry in batch])
        except Exception as error:
            if len(batch) == 1:
                self._fail(batch[0], error)
                return
            # Without a name for it, which would outlive this block.
            log.warning(
                "a batch of %d failed, splitting it: %s",
                len(batch),
                error,
                exc_info=None if isinstance(error, OutOfMemoryError) else error,
            )
        else:
            self._answer(batch, results, began, taken_at)
            return
        # Outside the handler: the failed batch's traceback, and the tensors it holds, are gone by now.
        self._metrics.splits.inc()
        middle = len(batch) // 2
        self._compute(batch[:middle], taken_at)
        self._compute(batch[middle:], taken_at)

    def _answer(self, batch: list[Entry], results: list[Embedding], began: float, taken_at: float) -> None:
        now = self._clock()
        n_tokens = sum(entry.prepared.n_tokens for entry in batch)
        self._metrics.computed(len(batch), n_tokens, self._batcher.n_computed(batch), now - began)
        for entry, result in zip(batch, results, strict=True):
            queue_s = taken_at - entry.job.submitted_at
            entry.job.answer(entry.index, result, queue_s=queue_s, model_s=now - taken_at)

    def _fail(self, entry: Entry, error: Exception) -> None:
        if not isinstance(error, ManyvecError):
            message = "the model failed on an input of %d tokens"
            # A copy: another worker may be within the same one.
            entry.job.context.copy().run(log.error, message, entry.prepared.n_tokens, exc_info=error)
        entry.job.fail(error)
