"""A request at one model: order, bad items, callers that leave, limits."""

import asyncio
import gc
import io
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from PIL import Image

from app.core.errors import BadInputError, QueueFullError, ShuttingDownError, TooLargeError
from app.core.types import ImageInput, Output, Role, TextInput
from app.engine.batcher import BatchLimits
from app.engine.lane import Lane, PrepareThreads
from app.engine.metrics import EngineMetrics
from app.engine.model_runner import (
    MAX_QUERIES,
    MAX_QUERY_CHARS,
    PREPARED_IMAGES,
    SHORT_CHARS,
    ModelRunner,
    RunnerLimits,
)
from app.families.base import Prepared
from tests.unit.engine.scripted import ScriptedModel

LONG = SHORT_CHARS + 1
"""Characters of a text that is prepared in a thread."""


class SlowTokenizer(ScriptedModel):
    """Prepares nothing until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.preparing, self.go_on = threading.Event(), threading.Event()

    def prepare_text(self, item: TextInput) -> Prepared:
        self.preparing.set()
        self.go_on.wait(10)
        return super().prepare_text(item)


@asynccontextmanager
async def runner(model: ScriptedModel, limits: RunnerLimits | None = None) -> AsyncIterator[ModelRunner]:
    threads = PrepareThreads(2)
    runner = ModelRunner("test", model, limits or RunnerLimits(max_wait_ms=0), threads, EngineMetrics())
    yield runner
    await asyncio.to_thread(runner.close)
    threads.close()


def png(width: int = 3, height: int = 2) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "PNG")
    return file.getvalue()


async def test_results_come_in_the_order_of_the_items() -> None:
    texts = ["x" * n for n in (5, 1, 300, 2, 40) * 20]
    async with runner(ScriptedModel()) as r:
        results = await r.encode([TextInput(text) for text in texts])
    assert [result.n_tokens for result in results] == [len(text) for text in texts]


async def test_requests_that_are_prepared_at_a_time_are_batched_together() -> None:
    model = SlowTokenizer()
    async with runner(model, RunnerLimits(max_wait_ms=10_000, max_batch_items=8, max_batch_tokens=8 * LONG)) as r:
        requests = asyncio.gather(*(r.encode([TextInput(str(i) * LONG)]) for i in range(8)))
        while r.usage().n_items < 8:  # noqa: ASYNC110 - bounded by the test's timeout
            await asyncio.sleep(0)
        model.go_on.set()
        await requests
    assert [len(batch) for batch in model.batches] == [8]


async def test_an_image_knows_the_size_of_its_picture() -> None:
    async with runner(ScriptedModel()) as r:
        (result,) = await r.encode([ImageInput(png(width=30, height=20))])
    assert (result.image_width, result.image_height) == (30, 20)


async def test_a_broken_image_is_named_and_its_neighbour_in_another_request_is_not_touched() -> None:
    async with runner(ScriptedModel()) as r:
        good, bad = await asyncio.gather(
            r.encode([ImageInput(png())]),
            r.encode([ImageInput(png()), ImageInput(b"no picture", label="file 2")]),
            return_exceptions=True,
        )
    assert isinstance(bad, BadInputError)
    assert "file 2" in bad.message
    assert isinstance(good, list)


async def test_a_caller_that_leaves_is_dropped_before_it_costs_compute() -> None:
    computing, go_on = threading.Event(), threading.Event()

    def script(texts: list[str]) -> None:
        computing.set()
        go_on.wait(10)

    model = ScriptedModel(script)
    async with runner(model) as r:
        first = asyncio.create_task(r.encode([TextInput("first")]))
        await asyncio.to_thread(computing.wait, 10)
        leaver = asyncio.create_task(r.encode([TextInput("leaver")]))
        stayer = asyncio.create_task(r.encode([TextInput("stayer")]))
        await queued(r, 3)
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        go_on.set()
        await asyncio.gather(first, stayer)
    assert model.batches == [["first"], ["stayer"]]


async def test_a_caller_that_leaves_while_its_text_is_prepared_is_dropped_too() -> None:
    model = SlowTokenizer()
    async with runner(model) as r:
        leaver = asyncio.create_task(r.encode([TextInput("leaver" * LONG)]))
        await asyncio.to_thread(model.preparing.wait, 10)
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        model.go_on.set()
        await r.encode([TextInput("stayer")])
    assert model.batches == [["stayer"]]


@pytest.mark.parametrize(("texts", "here"), [(["x" * SHORT_CHARS], True), (["x" * LONG], False), (["x", "y"], False)])
async def test_a_single_short_text_is_tokenized_at_once(texts: list[str], here: bool) -> None:
    threads = set()

    class Watched(ScriptedModel):
        def prepare_text(self, item: TextInput) -> Prepared:
            threads.add(threading.current_thread())
            return super().prepare_text(item)

    async with runner(Watched()) as r:
        await r.encode([TextInput(text, Role.DOCUMENT) for text in texts])
    assert (threading.current_thread() in threads) == here


async def test_a_text_that_cannot_be_tokenized_fails_whether_it_is_short_or_not() -> None:
    class Broken(ScriptedModel):
        def prepare_text(self, item: TextInput) -> Prepared:
            raise BadInputError("no")

    async with runner(Broken()) as r:
        for text in ("x", "x" * LONG):
            with pytest.raises(BadInputError):
                await r.encode([TextInput(text)])
        assert r.usage().n_items == 0


async def test_whoever_waits_for_a_thread_hears_that_there_are_none_any_more() -> None:
    threads, model = PrepareThreads(1), SlowTokenizer()
    r = ModelRunner("test", model, RunnerLimits(max_wait_ms=0), threads, EngineMetrics())
    first, second = (asyncio.create_task(r.encode([TextInput("x" * LONG, Role.DOCUMENT)])) for _ in range(2))
    await asyncio.to_thread(model.preparing.wait, 10)
    threads.close()
    with pytest.raises(ShuttingDownError):
        await second
    model.go_on.set()
    assert len(await first) == 1
    await asyncio.to_thread(r.close)


async def test_a_failed_job_leaves_nothing_in_memory() -> None:
    """Its error would hold the inputs until the garbage is collected."""

    class Upload:
        pass

    def failing(upload: Upload) -> Callable[[], list[Prepared]]:
        def prepare() -> list[Prepared]:
            raise BadInputError(f"{upload} is no picture")

        return prepare

    threads = PrepareThreads(1)
    lane = Lane("test", ScriptedModel(), BatchLimits(), threads.bulk, EngineMetrics().lane("test", "bulk"))
    upload = Upload()
    gone = weakref.ref(upload)
    gc.disable()
    try:
        with pytest.raises(BadInputError):
            await lane.encode(1, failing(upload), 0.0)
        del upload
        await until(lambda: gone() is None)
    finally:
        gc.enable()
    await asyncio.to_thread(lane.close)
    threads.close()


async def test_a_failed_request_leaves_nothing_in_memory() -> None:
    """One bad input of many; the others of the request would stay, too."""

    class Label(str):
        pass

    def left() -> bool:
        # The model remembers what it computed, should the good one have come that far.
        model.batches.clear()
        return gone() is None

    model = ScriptedModel()
    async with runner(model) as r:
        label = Label("file 2")
        gone = weakref.ref(label)
        gc.disable()
        try:
            with pytest.raises(BadInputError):
                await r.encode([ImageInput(b"no picture"), ImageInput(png(), label)])
            del label
            await until(left)
        finally:
            gc.enable()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - bounded by the timeout
            await asyncio.sleep(0)


async def test_a_full_queue_refuses_the_whole_request_and_recovers() -> None:
    async with runner(ScriptedModel(), RunnerLimits(max_wait_ms=0, max_queue_items=2)) as r:
        for _ in range(2):
            both = r.encode([TextInput("a")] * 2), r.encode([TextInput("a")] * 2)
            first, second = await asyncio.gather(*both, return_exceptions=True)
            assert isinstance(first, list)
            assert isinstance(second, QueueFullError)
        assert len(await r.encode([TextInput("a")] * 2)) == 2


async def test_a_request_that_can_never_wait_is_too_large() -> None:
    async with runner(ScriptedModel(), RunnerLimits(max_wait_ms=0, max_queue_items=2)) as r:
        with pytest.raises(TooLargeError, match="At most 2"):
            await r.encode([TextInput("a")] * 3)


async def test_a_request_may_ask_for_so_many_rows() -> None:
    """The model's have one number, of four bytes."""
    rows, vector = frozenset({Output.MULTI_VECTOR}), frozenset({Output.DENSE})
    model = ScriptedModel()
    async with runner(model, RunnerLimits(max_wait_ms=0, max_vector_bytes=40)) as r:
        assert len(await r.encode([TextInput("a" * 5, outputs=rows)] * 2)) == 2
        assert len(await r.encode([TextInput("a" * 50, outputs=vector)] * 2)) == 2
        with pytest.raises(TooLargeError, match="more than 10 tokens"):
            await r.encode([TextInput("a" * 11, outputs=rows)])
        n_computed = len(model.batches)
        with pytest.raises(TooLargeError):
            await r.encode([TextInput("a", outputs=rows)] * 11)
        assert len(model.batches) == n_computed


async def test_a_queue_full_of_documents_refuses_no_query() -> None:
    go_on = threading.Event()
    async with runner(
        ScriptedModel(lambda texts: "document" in texts and go_on.wait(10) and None),
        RunnerLimits(max_wait_ms=0, max_queue_items=2),
    ) as r:
        ingest = asyncio.create_task(r.encode([TextInput("document", Role.DOCUMENT)] * 2))
        await until(lambda: r.usage().n_items == 2)
        with pytest.raises(QueueFullError):
            await r.encode([TextInput("another", Role.DOCUMENT)])
        assert len(await r.encode([TextInput("query")])) == 1
        go_on.set()
        await ingest


async def test_closing_answers_what_was_accepted() -> None:
    go_on = threading.Event()
    model = ScriptedModel(lambda texts: go_on.wait(10) and None)
    threads = PrepareThreads(1)
    r = ModelRunner("test", model, RunnerLimits(max_wait_ms=0), threads, EngineMetrics())
    request = asyncio.create_task(r.encode([TextInput("accepted")]))
    await queued(r, 1)
    closing = asyncio.create_task(asyncio.to_thread(r.close))
    go_on.set()
    assert len(await request) == 1
    await closing
    threads.close()
    assert model.closed


async def test_a_query_overtakes_an_ingest() -> None:
    ingesting, go_on = threading.Event(), threading.Event()

    def script(texts: list[str]) -> None:
        if "document" in texts:
            ingesting.set()
            go_on.wait(10)

    async with runner(ScriptedModel(script)) as r:
        ingest = asyncio.create_task(r.encode([TextInput("document", Role.DOCUMENT)] * 100))
        await asyncio.to_thread(ingesting.wait, 10)
        assert len(await r.encode([TextInput("query")])) == 1
        assert not ingest.done()
        go_on.set()
        assert len(await ingest) == 100


async def test_an_interactive_request_overtakes_an_ingest_of_its_lane() -> None:
    ingesting, go_on = threading.Event(), threading.Event()

    def script(texts: list[str]) -> None:
        if "document" in texts:
            ingesting.set()
            go_on.wait(10)

    model = ScriptedModel(script)
    async with runner(model, RunnerLimits(max_wait_ms=0, max_batch_items=2, max_queue_items=100)) as r:
        ingest = asyncio.create_task(r.encode([TextInput("document", Role.DOCUMENT)] * 100))
        await asyncio.to_thread(ingesting.wait, 10)
        await until(lambda: r.usage().queue_lengths["bulk"] == 98)
        # The queue is full of documents, but not for this.
        candidates = [TextInput("candidate", Role.DOCUMENT)] * 4
        rerank = asyncio.create_task(r.encode(candidates, interactive=True))
        await until(lambda: r.usage().queue_lengths["bulk"] == 102)
        go_on.set()
        assert len(await rerank) == 4
        assert len(await ingest) == 100
    assert model.batches[1:5].count(["candidate"] * 2) == 2


async def test_an_interactive_image_waits_for_none_of_an_ingest() -> None:
    ingesting, go_on = threading.Event(), threading.Event()

    def script(labels: list[str]) -> None:
        if "page" in labels:
            ingesting.set()
            go_on.wait(10)

    model = ScriptedModel(script)
    async with runner(model, RunnerLimits(max_wait_ms=0, max_batch_items=2)) as r:
        ingest = asyncio.create_task(r.encode([ImageInput(png(), "page")] * 2 * PREPARED_IMAGES))
        await asyncio.to_thread(ingesting.wait, 10)
        await until(lambda: r.usage().queue_lengths["bulk"] == PREPARED_IMAGES - len(model.batches[0]))
        explained = asyncio.create_task(r.encode([ImageInput(png(), "explained")], interactive=True))
        await until(lambda: r.usage().queue_lengths["bulk"] == PREPARED_IMAGES - len(model.batches[0]) + 1)
        go_on.set()
        await explained
        await ingest
    assert "explained" in model.batches[1]


@pytest.mark.parametrize("listed", [["listed"] * (MAX_QUERIES + 1), ["listed", "x" * MAX_QUERY_CHARS]], ids=len)
async def test_many_or_long_queries_are_bulk_work(listed: list[str]) -> None:
    computing, go_on = threading.Event(), threading.Event()

    def script(texts: list[str]) -> None:
        if "listed" in texts:
            computing.set()
            go_on.wait(10)

    async with runner(ScriptedModel(script)) as r:
        long_list = asyncio.create_task(r.encode([TextInput(text) for text in listed]))
        await asyncio.to_thread(computing.wait, 10)
        assert len(await r.encode([TextInput("query")])) == 1
        go_on.set()
        await long_list


async def queued(r: ModelRunner, n: int) -> None:
    """Until n entries are with the batcher or its worker."""
    lane = r._queries
    while len(lane._batcher._waiting) + any(worker._busy_since for worker in lane._workers) < n:  # noqa: ASYNC110 - bounded by the test's timeout
        await asyncio.sleep(0)
