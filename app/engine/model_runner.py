"""A loaded model in service: prepares inputs in threads, batches them, and waits for the answers."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import TypeVar

from app.core.errors import QueueFullError
from app.core.images import decode_image
from app.core.types import Embedding, ImageInput, TextInput
from app.engine.batcher import Batcher, BatchLimits, Entry
from app.engine.model_worker import ModelWorker
from app.families.base import EmbeddingModel, Prepared

T = TypeVar("T")

TEXTS_A_JOB = 16
"""Texts that one job of the preparing threads tokenizes: many enough to make its overhead small."""


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """What one model takes on at once."""

    batch: BatchLimits
    max_queue_items: int = 4096
    max_prepared_images: int = 32
    """Decoded images held in memory at once; a page of pixels takes about 14 MB."""
    max_image_pixels: int = 40_000_000


class ModelRunner:
    """One loaded model with its queue and its worker thread. Used from one event loop."""

    def __init__(self, name: str, model: EmbeddingModel, limits: RunnerLimits, threads: Executor) -> None:
        self.model = model
        self._limits = limits
        self._threads = threads
        self._batcher = Batcher(limits.batch)
        self._worker = ModelWorker(name, model, self._batcher)
        self._image_slots = asyncio.Semaphore(limits.max_prepared_images)
        self._n_items = 0
        self._worker.start()

    async def encode(self, items: Sequence[TextInput | ImageInput]) -> list[Embedding]:
        """Result i belongs to item i. Raises the first error; whatever still waits is then dropped."""
        if self._n_items + len(items) > self._limits.max_queue_items:
            raise QueueFullError("Too many inputs are waiting for this model; try again in a moment.")
        self._n_items += len(items)
        results: dict[int, Embedding] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for job in self._jobs(items, results):
                    group.create_task(job)
        except ExceptionGroup as errors:
            # One bad input answers for the whole request; the group has cancelled the others.
            raise errors.exceptions[0] from None
        finally:
            self._n_items -= len(items)
        return [results[index] for index in range(len(items))]

    def is_healthy(self, stuck_after_s: float) -> bool:
        return self._worker.is_healthy(stuck_after_s)

    def close(self) -> None:
        """Finish what was accepted, then free the model. Blocks."""
        self._worker.close()
        self.model.close()

    def _jobs(
        self, items: Sequence[TextInput | ImageInput], results: dict[int, Embedding]
    ) -> Iterator[Coroutine[None, None, None]]:
        """The request in pieces that are prepared in parallel: some texts, or one image."""
        texts = [(index, item) for index, item in enumerate(items) if isinstance(item, TextInput)]
        for start in range(0, len(texts), TEXTS_A_JOB):
            yield self._encode_texts(texts[start : start + TEXTS_A_JOB], results)
        for index, item in enumerate(items):
            if isinstance(item, ImageInput):
                yield self._encode_image(index, item, results)

    async def _encode_texts(self, items: Sequence[tuple[int, TextInput]], results: dict[int, Embedding]) -> None:
        futures = [Future[Embedding]() for _ in items]
        try:
            await self._in_thread(lambda: self._submit_texts([item for _, item in items], futures))
            embeddings = await _answers(futures)
        finally:
            # Of a caller that left while its texts were still being tokenized; done futures are not touched.
            for future in futures:
                future.cancel()
        for (index, _), embedding in zip(items, embeddings, strict=True):
            results[index] = embedding

    def _submit_texts(self, items: Sequence[TextInput], futures: Sequence[Future[Embedding]]) -> None:
        # Submitted together, so that texts of one request are not computed one by one as they come.
        entries = [Entry(self.model.prepare_text(item), future) for item, future in zip(items, futures, strict=True)]
        for entry in entries:
            self._batcher.submit(entry)

    async def _encode_image(self, index: int, item: ImageInput, results: dict[int, Embedding]) -> None:
        async with self._image_slots:
            prepared, (width, height) = await self._in_thread(lambda: self._prepare_image(item))
            (embedding,) = await _answers([self._batcher.submit(Entry(prepared))])
        results[index] = replace(embedding, image_width=width, image_height=height)

    def _prepare_image(self, item: ImageInput) -> tuple[Prepared, tuple[int, int]]:
        image = decode_image(item.data, item.label, self._limits.max_image_pixels)
        return self.model.prepare_image(item, image), image.size

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


async def _answers(futures: Sequence[Future[Embedding]]) -> list[Embedding]:
    """Wait for the worker; cancelling the wait cancels the entries."""
    return await asyncio.gather(*(asyncio.wrap_future(future) for future in futures))
