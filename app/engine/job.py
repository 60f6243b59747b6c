"""Inputs of one request that are prepared together, from their coming to their embeddings."""

import threading
from concurrent.futures import Future
from contextvars import copy_context

from app.core.trace import note_phase
from app.core.types import Embedding


class Job:
    """The promise of the embeddings of `n_items` inputs. Answered from the threads of workers."""

    def __init__(self, n_items: int, accepted_at: float = 0.0, *, interactive: bool = False) -> None:
        """`accepted_at`: when the inputs came, by `time.monotonic`."""
        self.n_items = n_items
        """How many inputs `submit` brings."""
        self.interactive = interactive
        """Somebody waits for the answer: its inputs overtake those of other jobs, with every other batch."""
        self.context = copy_context()
        """Of the request that it belongs to; what is logged about it is logged there."""
        self.embeddings: Future[list[Embedding]] = Future()
        """In the order of the inputs. One for all of them: a future for each would cost more than to tokenize it."""
        # From now on nobody can cancel it, so that it may be answered without a look at who is still there.
        self.embeddings.set_running_or_notify_cancel()
        self.accepted_at = accepted_at
        self.submitted_at = 0.0
        """When the inputs were prepared and queued, by the batcher's clock."""
        self.wait_s = 0.0
        """For a thread that prepares."""
        self.prepare_s = 0.0
        self.queue_s = 0.0
        """The longest that one of its inputs waited for a batch."""
        self.model_s = 0.0
        """The longest that a batch with its inputs took."""
        self._lock = threading.Lock()
        self._answers: list[Embedding | None] = [None] * n_items
        self._n_missing = n_items

    def answer(self, index: int, embedding: Embedding, *, queue_s: float, model_s: float) -> None:
        """Input `index` is embedded, having waited for its batch and for the model so long."""
        with self._lock:
            self._answers[index] = embedding
            self._n_missing -= 1
            self.queue_s = max(self.queue_s, queue_s)
            self.model_s = max(self.model_s, model_s)
            if not self._n_missing and not self.embeddings.done():
                self.embeddings.set_result([answer for answer in self._answers if answer is not None])

    def fail(self, error: BaseException) -> None:
        """Answer with an error, unless it has been answered."""
        with self._lock:
            if not self.embeddings.done():
                self.embeddings.set_exception(error)

    def note_phases(self) -> None:
        """Tell the request what its inputs spent their time on."""
        note_phase("queue", self.wait_s + self.queue_s)
        note_phase("prepare", self.prepare_s)
        note_phase("model", self.model_s)
