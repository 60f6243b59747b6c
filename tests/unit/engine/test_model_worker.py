"""The worker thread: bad neighbours, memory, draining, health."""

import gc
import threading
import time
import weakref

import pytest

from app.core.errors import BadInputError, OutOfMemoryError, UnavailableError
from app.engine import model_worker
from app.engine.batcher import Batcher, BatchLimits
from app.engine.job import Job
from app.engine.metrics import EngineMetrics
from app.engine.model_worker import ModelWorker
from tests.unit.engine.scripted import ScriptedModel, prepared, submitted

METRICS = EngineMetrics().lane("test", "bulk")


def run(model: ScriptedModel, *texts: str) -> list[Job]:
    """A job for each, submitted before the worker starts, so that it is one batch; returns when all is answered."""
    batcher = Batcher(BatchLimits(max_wait_ms=0))
    jobs = [submitted(batcher, prepared(text)) for text in texts]
    worker = ModelWorker("test", model, batcher, METRICS)
    worker.start()
    worker.close()
    assert all(job.embeddings.done() for job in jobs)
    return jobs


def lengths(job: Job) -> list[float]:
    vectors = [embedding.dense for embedding in job.embeddings.result(timeout=10)]
    return [float(vector[0]) for vector in vectors if vector is not None]


def length(job: Job) -> float:
    (found,) = lengths(job)
    return found


def test_each_entry_gets_its_own_result() -> None:
    model = ScriptedModel()
    assert [length(job) for job in run(model, "a", "bbb", "cc")] == [1, 3, 2]
    assert len(model.batches) == 1


def test_a_jobs_results_are_in_its_order_and_come_when_the_last_is_there() -> None:
    batcher = Batcher(BatchLimits(max_batch_items=2, max_wait_ms=0))
    first = submitted(batcher, *map(prepared, ("a", "bbb", "cc")))
    second = submitted(batcher, *map(prepared, ("dddd", "e")))
    done: list[tuple[bool, bool]] = []

    def script(texts: list[str]) -> None:
        done.append((first.embeddings.done(), second.embeddings.done()))

    worker = ModelWorker("test", ScriptedModel(script), batcher, METRICS)
    worker.start()
    worker.close()
    assert (lengths(first), lengths(second)) == ([1, 3, 2], [4, 1])
    # By length: a with e, bbb with cc, and dddd alone.
    assert done == [(False, False), (False, False), (True, False)]


def test_a_broken_input_fails_alone() -> None:
    def script(texts: list[str]) -> None:
        if "poison" in texts:
            raise ValueError("bad tensor")

    one, two, poisoned, four, five = run(ScriptedModel(script), "1", "22", "poison", "4444", "55555")
    assert [length(job) for job in (one, two, four, five)] == [1, 2, 4, 5]
    with pytest.raises(ValueError, match="bad tensor"):
        poisoned.embeddings.result()


def test_out_of_memory_splits_the_batch_until_it_fits() -> None:
    def script(texts: list[str]) -> None:
        if len(texts) > 2:
            raise OutOfMemoryError("too much")

    model = ScriptedModel(script)
    assert [length(job) for job in run(model, *"abcdefg")] == [1] * 7
    assert sum(len(batch) for batch in model.batches if len(batch) <= 2) == 7


def test_an_input_that_does_not_fit_alone_fails_with_out_of_memory() -> None:
    def script(texts: list[str]) -> None:
        if "huge" in texts:
            raise OutOfMemoryError("too much")

    small, huge = run(ScriptedModel(script), "small", "huge")
    assert length(small) == 5
    with pytest.raises(OutOfMemoryError):
        huge.embeddings.result()


def test_inputs_of_one_job_that_fail_together_fail_it_once() -> None:
    def script(texts: list[str]) -> None:
        if texts != ["good"]:
            raise ValueError("bad tensor")

    batcher = Batcher(BatchLimits(max_wait_ms=0))
    job = submitted(batcher, *map(prepared, ("a", "b", "c")))
    worker = ModelWorker("test", ScriptedModel(script), batcher, METRICS)
    worker.start()
    with pytest.raises(ValueError, match="bad tensor"):
        job.embeddings.result(timeout=10)
    # A second error for the same job would have ended the worker.
    assert length(submitted(batcher, prepared("good"))) == 4
    worker.close()


def test_after_a_failure_the_worker_goes_on() -> None:
    def script(texts: list[str]) -> None:
        if texts == ["bad"]:
            raise BadInputError("no")

    batcher = Batcher(BatchLimits(max_wait_ms=0))
    worker = ModelWorker("test", ScriptedModel(script), batcher, METRICS)
    worker.start()
    with pytest.raises(BadInputError):
        submitted(batcher, prepared("bad")).embeddings.result(timeout=10)
    assert length(submitted(batcher, prepared("good"))) == 4
    worker.close()


def test_a_worker_that_dies_answers_everybody_and_is_unhealthy() -> None:
    def script(texts: list[str]) -> None:
        raise SystemExit

    batcher = Batcher(BatchLimits(max_batch_items=1, max_wait_ms=0))
    first, second = [submitted(batcher, prepared(text)) for text in ("first", "second")]
    worker = ModelWorker("test", ScriptedModel(script), batcher, METRICS)
    worker.start()
    with pytest.raises(SystemExit):
        first.embeddings.result(timeout=10)
    with pytest.raises(UnavailableError):
        second.embeddings.result(timeout=10)
    worker.close()
    assert not worker.is_healthy(stuck_after_s=300)


def test_a_worker_is_unhealthy_while_one_batch_takes_too_long() -> None:
    now = 0.0
    computing, go_on = threading.Event(), threading.Event()

    def script(texts: list[str]) -> None:
        computing.set()
        go_on.wait(10)

    batcher = Batcher(BatchLimits(max_wait_ms=0))
    worker = ModelWorker("test", ScriptedModel(script), batcher, METRICS, clock=lambda: now)
    worker.start()
    job = submitted(batcher, prepared("slow"))
    assert computing.wait(10)
    now = 299.0
    assert worker.is_healthy(stuck_after_s=300)
    now = 301.0
    assert not worker.is_healthy(stuck_after_s=300)
    go_on.set()
    job.embeddings.result(timeout=10)
    worker.close()


def test_closing_drains_what_was_accepted() -> None:
    model = ScriptedModel()
    assert [length(job) for job in run(model, *["x"] * 200)] == [1] * 200


def test_a_worker_that_waits_keeps_nothing_of_the_batch_before() -> None:
    batcher = Batcher(BatchLimits(max_wait_ms=0))
    worker = ModelWorker("test", ScriptedModel(), batcher, METRICS)
    worker.start()
    job = submitted(batcher, prepared("text"))
    job.embeddings.result(timeout=10)
    gone = weakref.ref(job)
    gc.disable()
    try:
        del job
        deadline = time.monotonic() + 10
        while gone() is not None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert gone() is None
    finally:
        gc.enable()
    assert worker.is_healthy(stuck_after_s=300)
    worker.close()
    assert worker.is_healthy(stuck_after_s=300)


def test_a_failed_batch_leaves_nothing_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error would hold the batch, and what the model had made of it, while the halves are computed."""

    def script(texts: list[str]) -> None:
        if len(texts) > 1:
            raise ValueError("together they are too much")

    # pytest keeps what is logged.
    monkeypatch.setattr(model_worker.log, "disabled", True)
    gc.disable()
    try:
        jobs = run(ScriptedModel(script), "a", "bb")
        assert [length(job) for job in jobs] == [1, 2]
        gone = [weakref.ref(job) for job in jobs]
        del jobs
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()
