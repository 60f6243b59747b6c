"""What the engine counts: batches, padding, waits, errors."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from app.core.errors import BadInputError, ModelNotFoundError, OutOfMemoryError
from app.core.trace import RequestTrace, current_request
from app.core.types import Role, TextInput
from app.engine.batcher import Batcher, BatchLimits
from app.engine.lane import PrepareThreads
from app.engine.metrics import EngineMetrics
from app.engine.model_runner import ModelRunner, RunnerLimits
from app.engine.model_worker import ModelWorker
from app.families.base import Padding
from tests.unit.engine.scripted import ScriptedModel, prepared, submitted

BULK = {"model": "test", "lane": "bulk"}


def computed(
    *texts: str, padding: Padding = Padding.ALL, model: ScriptedModel | None = None
) -> Callable[[str], float | None]:
    """Have a worker compute these together; returns what a metric of its lane is then."""
    registry = CollectorRegistry()
    batcher = Batcher(BatchLimits(max_wait_ms=0, padding=padding))
    submitted(batcher, *map(prepared, texts))
    worker = ModelWorker("test", model or ScriptedModel(), batcher, EngineMetrics(registry).lane("test", "bulk"))
    worker.start()
    worker.close()
    return lambda name: registry.get_sample_value(f"manyvec_{name}", BULK)


def test_a_padded_batch_counts_its_padding() -> None:
    value = computed("12345", "1", "123")
    assert (value("tokens_total"), value("padding_tokens_total")) == (9, 6)
    assert (value("batch_tokens_count"), value("batch_tokens_sum"), value("batch_items_sum")) == (1, 15, 3)
    assert (value("model_seconds_count"), value("queue_wait_seconds_count")) == (1, 3)


@pytest.mark.parametrize("padding", [Padding.NONE, Padding.ATTENTION])
def test_a_model_that_does_not_pad_computes_no_padding(padding: Padding) -> None:
    value = computed("12345", "1", "123", padding=padding)
    assert (value("tokens_total"), value("padding_tokens_total"), value("batch_tokens_sum")) == (9, 0, 9)


def test_a_batch_that_is_split_counts_what_was_computed_in_the_end() -> None:
    def script(texts: list[str]) -> None:
        if len(texts) > 2:
            raise OutOfMemoryError("too much")

    value = computed("1", "1", "1", "1", model=ScriptedModel(script))
    assert (value("batch_splits_total"), value("batch_items_count"), value("batch_items_sum")) == (1, 2, 4)
    assert value("queue_wait_seconds_count") == 4


def test_waiting_ends_when_a_batch_is_taken() -> None:
    registry, now = CollectorRegistry(), 10.0

    def clock() -> float:
        return now

    batcher = Batcher(BatchLimits(max_wait_ms=0), clock)
    first = submitted(batcher, prepared("a"))
    now = 12.0
    second = submitted(batcher, prepared("b"), prepared("c"))
    now = 15.0
    lane = EngineMetrics(registry).lane("test", "bulk")
    worker = ModelWorker("test", ScriptedModel(), batcher, lane, clock=clock)
    worker.start()
    worker.close()
    assert [first.queue_s, second.queue_s] == [5.0, 3.0]
    assert registry.get_sample_value("manyvec_queue_wait_seconds_sum", BULK) == 5 + 3 + 3


def test_the_queue_is_as_long_as_those_who_still_wait() -> None:
    batcher = Batcher(BatchLimits(max_batch_items=2, max_wait_ms=0))
    jobs = [submitted(batcher, prepared("a"), prepared("b")) for _ in range(3)]
    assert batcher.n_waiting() == 6
    batcher.drop(jobs[0])
    assert batcher.n_waiting() == 4
    batcher.take()
    assert batcher.n_waiting() == 2


@pytest.mark.parametrize(
    ("error", "kind"),
    [(BadInputError("x"), "bad_input"), (OutOfMemoryError("x"), "out_of_memory"), (ValueError("bug"), "internal")],
)
def test_errors_are_counted_by_kind(error: Exception, kind: str) -> None:
    registry = CollectorRegistry()
    with pytest.raises(type(error)), EngineMetrics(registry).counting_errors("test"):
        raise error
    assert registry.get_sample_value("manyvec_errors_total", {"model": "test", "kind": kind}) == 1


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ModelNotFoundError("x")])
def test_neither_a_caller_that_leaves_nor_an_unknown_name_is_a_models_error(error: BaseException) -> None:
    registry = CollectorRegistry()
    with pytest.raises(type(error)), EngineMetrics(registry).counting_errors("test"):
        raise error
    assert [sample for family in registry.collect() for sample in family.samples if "errors" in sample.name] == []


async def test_a_request_learns_the_longest_of_its_inputs_and_a_runner_tells_what_it_holds() -> None:
    computing, go_on = threading.Event(), threading.Event()

    def script(texts: list[str]) -> None:
        computing.set()
        go_on.wait(10)

    registry, threads = CollectorRegistry(), PrepareThreads(2)
    limits = RunnerLimits(max_wait_ms=0, max_batch_items=20)
    runner = ModelRunner("test", ScriptedModel(script, memory_bytes=7), limits, threads, EngineMetrics(registry))
    trace = RequestTrace("a")
    current_request.set(trace)
    request = asyncio.create_task(runner.encode([TextInput("x", Role.DOCUMENT)] * 40))
    await asyncio.to_thread(computing.wait, 10)
    while (usage := runner.usage()).queue_lengths["bulk"] < 20:  # noqa: ASYNC110 - bounded by the test's timeout
        await asyncio.sleep(0)
    assert (usage.memory_bytes, usage.n_items, usage.queue_lengths["queries"]) == (7, 40, 0)
    go_on.set()
    await request
    assert replace(runner.usage(), queue_lengths={}) == replace(usage, n_items=0, queue_lengths={})
    await asyncio.to_thread(runner.close)
    threads.close()
    assert list(trace.seconds) == ["queue", "prepare", "model"]
    assert all(seconds > 0 for seconds in trace.seconds.values())
    # A job for every sixteen texts.
    assert registry.get_sample_value("manyvec_prepare_seconds_count", BULK) == 3
    assert registry.get_sample_value("manyvec_prepare_wait_seconds_count", BULK) == 3
