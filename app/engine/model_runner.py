"""A loaded model in service: cuts requests into jobs, chooses their lane, and puts the answers in order."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from app.core.errors import QueueFullError, TooLargeError
from app.core.images import decode_image
from app.core.types import Embedding, ImageInput, Output, Role, TextInput
from app.engine.batcher import BatchLimits
from app.engine.lane import Lane, PrepareThreads
from app.engine.metrics import EngineMetrics
from app.families.base import EmbeddingModel, ModelInfo, Prepared

TEXTS_A_JOB = 16
"""Texts that one job of the preparing threads tokenizes: many enough to make its overhead small."""

SHORT_CHARS = 500
"""A single text of no more characters is tokenized in about 0.1 ms, in which a thread would not have begun with it."""

MAX_QUERIES, MAX_QUERY_CHARS = 8, 4000
"""A request with more texts, or with more characters in all, is bulk work, whatever their role: the searches behind it
would wait for more than a batch."""

BATCH_TOKENS_CPU, BATCH_TOKENS_GPU = 1024, 16384
"""Tokens a batch that fill the processor; more of them leave its caches (docs/decisions/0001-cpu-text-backend.md)."""
BATCH_ITEMS_CPU, BATCH_ITEMS_GPU = 64, 512
"""So many short texts fill a batch of that many tokens."""
PREPARED_IMAGES, PREPARED_IMAGES_CUDA, PREPARED_IMAGES_INTERACTIVE = 32, 96, 4
"""Images that are decoded, wait or are computed at once; a page takes about 14 MB while it is decoded, 2 MB afterwards.

On CUDA two batches of 20 pages are computed while the next two are prepared. Interactive requests have some for
themselves, or they would wait until an ingest has none left that waits.
"""
BATCHES_IN_FLIGHT_CUDA = 2
"""A GPU is given the next batch while it computes one, so that it need not wait for answers to be made of that."""


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """What one model takes on at once."""

    max_batch_tokens: int | None = None
    """None: as many as suit the device."""
    max_batch_items: int | None = None
    """None: as many as suit the device."""
    max_wait_ms: float = 2.0
    max_queue_items: int = 4096
    max_vector_bytes: int = 1 << 30
    """Of the rows of one request, as float32."""
    max_image_pixels: int = 40_000_000

    def batch(self, info: ModelInfo) -> BatchLimits:
        """The limits of a batch for a model."""
        on_cpu = info.device == "cpu"
        tokens = self.max_batch_tokens or (BATCH_TOKENS_CPU if on_cpu else BATCH_TOKENS_GPU)
        items = self.max_batch_items or (BATCH_ITEMS_CPU if on_cpu else BATCH_ITEMS_GPU)
        return BatchLimits(tokens, items, self.max_wait_ms, info.padding)


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What a model holds at the moment."""

    memory_bytes: int
    n_items: int
    """Inputs accepted and not yet answered: being prepared, waiting or being computed."""
    queue_lengths: Mapping[str, int]
    """Prepared inputs that wait for a batch, by lane."""


class _Request:
    def __init__(self, lane: Lane, max_rows: int, *, interactive: bool) -> None:
        self.lane = lane
        self.interactive = interactive
        self.results: dict[int, Embedding] = {}
        """By the place of the input."""
        self._max_rows = max_rows
        self._n_rows = 0
        self._lock = threading.Lock()

    def check_rows(self, prepared: Sequence[Prepared]) -> Sequence[Prepared]:
        """The same. Raises `TooLargeError` if the request has more rows by now than may be computed for it.

        Called from the threads that prepare, so that nothing is computed in vain.
        """
        with self._lock:
            self._n_rows += sum(one.n_tokens for one in prepared if Output.MULTI_VECTOR in one.outputs)
            if self._n_rows > self._max_rows:
                raise TooLargeError(
                    f"These inputs have more than {self._max_rows} tokens or patches, which are too many vectors at "
                    "once; send several requests."
                )
        return prepared


class ModelRunner:
    """One loaded model with its lanes. Used from one event loop."""

    def __init__(
        self,
        name: str,
        model: EmbeddingModel,
        limits: RunnerLimits,
        threads: PrepareThreads,
        metrics: EngineMetrics,
    ) -> None:
        self.model = model
        self._limits = limits
        batch = limits.batch(model.info)
        queries, bulk = metrics.lane(name, "queries"), metrics.lane(name, "bulk")
        on_cuda = model.info.device.startswith("cuda")
        in_flight = BATCHES_IN_FLIGHT_CUDA if on_cuda else 1
        self._queries = Lane(f"{name}-queries", model, batch, threads.queries, queries, urgent=True)
        self._bulk = Lane(
            f"{name}-bulk",
            model,
            batch,
            threads.bulk,
            bulk,
            n_workers=in_flight,
            interactive_threads=threads.interactive,
        )
        self._interactive_image_slots = asyncio.Semaphore(PREPARED_IMAGES_INTERACTIVE)
        self._image_slots = asyncio.Semaphore(PREPARED_IMAGES_CUDA if on_cuda else PREPARED_IMAGES)
        self._n_items: Counter[tuple[Lane, bool]] = Counter()
        """Accepted and not yet answered, by lane and whether they are interactive."""

    async def encode(self, items: Sequence[TextInput | ImageInput], *, interactive: bool = False) -> list[Embedding]:
        """Result i belongs to item i. Raises the first error; whatever still waits is then dropped.

        `interactive`: what is bulk work by its kind goes before other bulk work, with every other batch.
        """
        max_rows = self._limits.max_vector_bytes // (4 * self.model.info.dim)
        request = _Request(self._lane(items), max_rows, interactive=interactive)
        kind = request.lane, interactive
        if len(items) > self._limits.max_queue_items:
            raise TooLargeError(
                f"At most {self._limits.max_queue_items} inputs can wait for a model; send fewer at once."
            )
        if self._n_items[kind] + len(items) > self._limits.max_queue_items:
            raise QueueFullError("Too many inputs are waiting for this model; try again in a moment.")
        self._n_items[kind] += len(items)
        try:
            await _together(list(self._jobs(request, items)))
        finally:
            self._n_items[kind] -= len(items)
        return [request.results[index] for index in range(len(items))]

    def usage(self) -> ModelUsage:
        return ModelUsage(
            memory_bytes=self.model.memory_bytes,
            n_items=self._n_items.total(),
            queue_lengths={"queries": self._queries.n_waiting(), "bulk": self._bulk.n_waiting()},
        )

    def is_healthy(self, stuck_after_s: float) -> bool:
        return self._queries.is_healthy(stuck_after_s) and self._bulk.is_healthy(stuck_after_s)

    def close(self) -> None:
        """Finish what was accepted, then free the model. Blocks."""
        self._queries.close()
        self._bulk.close()
        self.model.close()

    def _lane(self, items: Sequence[TextInput | ImageInput]) -> Lane:
        """A few short queries overtake; documents, pages, long texts and long lists do not."""
        queries = [item for item in items if isinstance(item, TextInput) and item.role is Role.QUERY]
        few = len(queries) == len(items) <= MAX_QUERIES
        short = sum(len(query.text) for query in queries) <= MAX_QUERY_CHARS
        return self._queries if few and short else self._bulk

    def _jobs(
        self, request: _Request, items: Sequence[TextInput | ImageInput]
    ) -> Iterator[Coroutine[None, None, None]]:
        """The request in pieces that are prepared in parallel: some texts, or one image."""
        texts = [(index, item) for index, item in enumerate(items) if isinstance(item, TextInput)]
        short = len(texts) == 1 and len(texts[0][1].text) <= SHORT_CHARS
        for start in range(0, len(texts), TEXTS_A_JOB):
            yield self._encode_texts(request, texts[start : start + TEXTS_A_JOB], at_once=short)
        for index, item in enumerate(items):
            if isinstance(item, ImageInput):
                yield self._encode_image(request, index, item)

    async def _encode_texts(self, request: _Request, items: Sequence[tuple[int, TextInput]], *, at_once: bool) -> None:
        texts = [item for _, item in items]
        embeddings = await request.lane.encode(
            len(texts),
            lambda: request.check_rows(self.model.prepare_texts(texts)),
            time.monotonic(),
            interactive=request.interactive,
            at_once=at_once,
        )
        for (index, _), embedding in zip(items, embeddings, strict=True):
            request.results[index] = embedding

    async def _encode_image(self, request: _Request, index: int, item: ImageInput) -> None:
        sizes: list[tuple[int, int]] = []

        def prepare() -> Sequence[Prepared]:
            image = decode_image(item.data, item.label, self._limits.max_image_pixels)
            sizes.append(image.size)
            return request.check_rows([self.model.prepare_image(item, image)])

        accepted_at = time.monotonic()
        async with self._interactive_image_slots if request.interactive else self._image_slots:
            (embedding,) = await request.lane.encode(1, prepare, accepted_at, interactive=request.interactive)
        ((width, height),) = sizes
        request.results[index] = replace(embedding, image_width=width, image_height=height)


async def _together(jobs: Sequence[Coroutine[None, None, None]]) -> None:
    """Run all; at the first error cancel the others and raise it."""
    if len(jobs) == 1:
        # Without a task of its own, which most requests would make for nothing.
        await jobs[0]
        return
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except ExceptionGroup as errors:
        # One bad input answers for the whole request. The group holds asyncio's frame, which holds the group.
        first, errors.__traceback__ = errors.exceptions[0], None
    else:
        return
    try:
        # Outside the handler, or it would bear the group that bears it: the inputs would stay in memory.
        raise first
    finally:
        del first
