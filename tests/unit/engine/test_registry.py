"""Loading, sharing, unloading and evicting models."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.core.errors import (
    ModelLoadError,
    ModelLoadingError,
    ModelNotFoundError,
    UnavailableError,
)
from app.core.types import TextInput
from app.engine.config import ModelConfig
from app.engine.lane import PrepareThreads
from app.engine.metrics import EngineMetrics
from app.engine.model_runner import ModelRunner, RunnerLimits
from app.engine.registry import ModelRegistry, ModelState
from app.families.base import Checkpoint
from tests.unit.engine.scripted import ScriptedModel

METRICS = EngineMetrics()
A, B, C = (ModelConfig(name, "e5", f"org/{name}") for name in "abc")


class ScriptedLoader:
    """Makes models of 100 bytes, as it believes; can be held up or made to fail."""

    def __init__(self, threads: PrepareThreads) -> None:
        self.models: dict[str, ScriptedModel] = {}
        self.n_loads = 0
        self.may_load = threading.Event()
        self.may_load.set()
        self.error: Exception | None = None
        self.memory_bytes = 100
        self._threads = threads

    def fetch(self, config: ModelConfig) -> Checkpoint:
        return Checkpoint(Path(config.checkpoint))

    def memory_needed(self, config: ModelConfig, checkpoint: Checkpoint) -> int:
        return 100

    def load(self, config: ModelConfig, checkpoint: Checkpoint, metrics: EngineMetrics) -> ModelRunner:
        self.may_load.wait(10)
        self.n_loads += 1
        if self.error:
            raise self.error
        self.models[config.name] = ScriptedModel(memory_bytes=self.memory_bytes)
        return ModelRunner(config.name, self.models[config.name], RunnerLimits(max_wait_ms=0), self._threads, metrics)


@pytest.fixture
def threads() -> Iterator[PrepareThreads]:
    threads = PrepareThreads(2)
    yield threads
    threads.close()


@pytest.fixture
def loader(threads: PrepareThreads) -> ScriptedLoader:
    return ScriptedLoader(threads)


async def touch(registry: ModelRegistry, *names: str) -> None:
    for name in names:
        async with registry.use(name) as runner:
            await runner.encode([TextInput("x")])


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - bounded by the test's timeout
        await asyncio.sleep(0)


def states(registry: ModelRegistry) -> dict[str, str]:
    return {status.config.name: str(status.state) for status in registry.statuses()}


async def test_a_model_is_loaded_on_first_use_and_once_for_all_who_wait(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B], loader, METRICS)
    assert states(registry) == {"a": "unloaded", "b": "unloaded"}
    await asyncio.gather(*(touch(registry, "a") for _ in range(5)))
    assert states(registry) == {"a": "ready", "b": "unloaded"}
    assert loader.n_loads == 1
    await registry.close()


async def test_unloading_frees_the_model_and_the_next_request_loads_it_again(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A], loader, METRICS)
    await touch(registry, "a")
    assert (await registry.unload("a")).state == ModelState.UNLOADED
    assert loader.models["a"].closed
    await touch(registry, "a")
    assert loader.n_loads == 2
    await registry.close()


async def test_another_model_of_the_same_configuration_is_loaded_anew(loader: ScriptedLoader) -> None:
    """Its folder may hold other files."""
    registry = ModelRegistry([A], loader, METRICS)
    await touch(registry, "a")
    registry.put(A)
    await touch(registry, "a")
    assert loader.n_loads == 2
    await registry.close()


async def test_models_come_and_go(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A], loader, METRICS)
    registry.put(B)
    await touch(registry, "b")
    await registry.remove("b")
    assert states(registry) == {"a": "unloaded"}
    with pytest.raises(ModelNotFoundError):
        await touch(registry, "b")
    await registry.close()


async def test_unloading_waits_for_the_requests_that_use_the_model(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A], loader, METRICS)
    async with registry.use("a") as runner:
        unloading = asyncio.create_task(registry.unload("a"))
        assert len(await runner.encode([TextInput("x")])) == 1
        assert not unloading.done()
    await unloading
    assert loader.models["a"].closed
    await registry.close()


async def test_a_request_that_cannot_wait_for_the_load_is_told_to_come_back(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A], loader, METRICS, load_wait_s=0.01)
    loader.may_load.clear()
    with pytest.raises(ModelLoadingError):
        await touch(registry, "a")
    assert states(registry) == {"a": "loading"}
    loader.may_load.set()
    await registry.load("a")
    await touch(registry, "a")
    assert loader.n_loads == 1
    await registry.close()


async def test_a_failed_load_is_reported_and_the_next_request_tries_again(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A], loader, METRICS)
    loader.error = ModelLoadError("no such folder")
    with pytest.raises(ModelLoadError, match="no such folder"):
        await touch(registry, "a")
    status = registry.status("a")
    assert (status.state, status.error) == (ModelState.FAILED, "no such folder")
    loader.error = None
    await touch(registry, "a")
    assert registry.status("a").error is None
    await registry.close()


async def test_a_failed_load_leaves_nothing_in_memory(loader: ScriptedLoader) -> None:
    class Weights:
        pass

    made: list[weakref.ref[Weights]] = []

    def fail(config: ModelConfig, checkpoint: Checkpoint, metrics: EngineMetrics) -> ModelRunner:
        weights = Weights()
        made.append(weakref.ref(weights))
        raise ModelLoadError("too late")

    loader.load = fail  # type: ignore[method-assign]
    registry = ModelRegistry([A], loader, METRICS)
    gc.disable()
    try:
        with pytest.raises(ModelLoadError, match="too late"):
            await touch(registry, "a")
        await until(lambda: made[0]() is None)
    finally:
        gc.enable()
    await registry.close()


async def test_a_model_that_was_replaced_while_it_failed_to_load_leaves_no_error(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A], loader, METRICS)
    loader.error = ModelLoadError("no such folder")
    loader.may_load.clear()
    loading = asyncio.create_task(registry.load("a"))
    await until(lambda: states(registry) == {"a": "loading"})
    registry.put(A)
    loader.may_load.set()
    with pytest.raises(ModelLoadError, match="no such folder"):
        await loading
    await until(lambda: states(registry) == {"a": "unloaded"})
    assert registry.status("a").error is None
    await registry.close()


async def test_a_model_that_took_more_than_was_thought_answers_though_no_other_can_leave(
    loader: ScriptedLoader,
) -> None:
    registry = ModelRegistry([A, B], loader, METRICS, memory_budget_bytes=200, unload_wait_s=0.01)
    await touch(registry, "a")
    async with registry.use("a"):
        loader.memory_bytes = 150
        await touch(registry, "b")
    await registry.close()


async def test_a_model_that_grows_while_it_computes_makes_others_leave(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B, C], loader, METRICS, memory_budget_bytes=300)
    await touch(registry, "a", "b", "c", "a")
    loader.models["a"].memory_bytes = 200
    await touch(registry, "a")
    await until(lambda: states(registry) == {"a": "ready", "b": "unloaded", "c": "ready"})
    # Alone it may exceed the budget: nobody else could leave for it.
    loader.models["a"].memory_bytes = 400
    await touch(registry, "a")
    await until(lambda: states(registry) == {"a": "ready", "b": "unloaded", "c": "unloaded"})
    await touch(registry, "a")
    await registry.close()


async def test_the_least_recently_used_model_makes_room(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B, C], loader, METRICS, memory_budget_bytes=250)
    await touch(registry, "a", "b", "a", "c")
    assert states(registry) == {"a": "ready", "b": "unloaded", "c": "ready"}
    assert loader.models["b"].closed
    await registry.close()


async def test_a_model_larger_than_the_budget_is_a_clear_error(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A], loader, METRICS, memory_budget_bytes=99)
    with pytest.raises(ModelLoadError, match="MEMORY_BUDGET_MB"):
        await touch(registry, "a")
    await registry.close()


class OverABase(ScriptedLoader):
    """`b` takes ten bytes over `a`, which it brings along where it is not in memory."""

    def memory_needed(self, config: ModelConfig, checkpoint: Checkpoint) -> int:
        base = self.models.get("a")
        is_loaded = base is not None and not base.closed
        return 100 if config == A else 10 if is_loaded else 110

    def load(self, config: ModelConfig, checkpoint: Checkpoint, metrics: EngineMetrics) -> ModelRunner:
        runner = super().load(config, checkpoint, metrics)
        self.models["b" if config == B else "a"].memory_bytes = 10 if config == B else 100
        return runner


async def test_an_adapter_over_a_loaded_base_needs_room_for_itself_alone(threads: PrepareThreads) -> None:
    registry = ModelRegistry([A, B], OverABase(threads), METRICS, memory_budget_bytes=110)
    await touch(registry, "a", "b")
    assert states(registry) == {"a": "ready", "b": "ready"}
    await registry.close()


async def test_a_base_that_had_to_make_room_is_needed_again(threads: PrepareThreads) -> None:
    registry = ModelRegistry([A, B], OverABase(threads), METRICS, memory_budget_bytes=105)
    await touch(registry, "a")
    with pytest.raises(ModelLoadError, match="MEMORY_BUDGET_MB"):
        await touch(registry, "b")
    await registry.close()


async def test_a_model_that_replaces_itself_waits_for_its_own_end_and_evicts_no_other(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B], loader, METRICS, memory_budget_bytes=200)
    await touch(registry, "b", "a")
    async with registry.use("a"):
        registry.put(A)
        newer = asyncio.create_task(touch(registry, "a"))
        await asyncio.sleep(0.05)
        assert loader.n_loads == 2
    await newer
    assert loader.n_loads == 3
    assert states(registry) == {"a": "ready", "b": "ready"}
    await registry.close()


async def test_making_room_waits_for_no_load_that_waits_for_room(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B, C], loader, METRICS, memory_budget_bytes=200)
    async with registry.use("a"):
        await touch(registry, "b")
        registry.put(A)
        waiting = []
        async with registry._entrance:
            # The one that needs room stands before the newer version of the one that is to make it.
            for name in ("c", "a"):
                waiting.append(asyncio.create_task(touch(registry, name)))
                await until(lambda: len(registry._entrance._waiters or ()) == len(waiting))
    await asyncio.wait_for(asyncio.gather(*waiting), timeout=10)
    await registry.close()


async def test_a_removed_model_counts_until_it_has_left(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B], loader, METRICS, memory_budget_bytes=100, unload_wait_s=0.05)
    async with registry.use("a"):
        with pytest.raises(UnavailableError):
            await registry.remove("a")
        with pytest.raises(UnavailableError, match="a is still computing"):
            await touch(registry, "b")
        assert loader.n_loads == 1
    await touch(registry, "b")
    assert loader.n_loads == 2
    assert sum(slot.memory_bytes for slot in registry._all_slots) == 100
    await registry.close()


async def test_memory_is_estimated_only_within_a_budget_and_off_the_event_loop(loader: ScriptedLoader) -> None:
    estimated_in: list[str] = []

    def memory_needed(config: ModelConfig, checkpoint: Checkpoint) -> int:
        estimated_in.append(threading.current_thread().name)
        return 100

    loader.memory_needed = memory_needed  # type: ignore[method-assign]
    for budget in (None, 100):
        registry = ModelRegistry([A], loader, METRICS, memory_budget_bytes=budget)
        await touch(registry, "a")
        await registry.close()
    assert len(estimated_in) == 2
    assert threading.main_thread().name not in estimated_in


async def test_the_cause_of_a_failed_load_is_logged(loader: ScriptedLoader, caplog: pytest.LogCaptureFixture) -> None:
    registry = ModelRegistry([A], loader, METRICS)
    loader.error = ModelLoadError("The checkpoint cannot be read.")
    loader.error.__cause__ = OSError("no such file: model.safetensors")
    with pytest.raises(ModelLoadError):
        await touch(registry, "a")
    assert "no such file: model.safetensors" in caplog.text
    await registry.close()


async def test_two_models_that_evict_each_other_both_answer(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B], loader, METRICS, memory_budget_bytes=100)
    await asyncio.wait_for(asyncio.gather(*(touch(registry, *"ab" * 3) for _ in range(4))), timeout=20)
    await registry.close()


async def test_cold_models_that_evict_each_other_serve_all_who_wait(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B], loader, METRICS, memory_budget_bytes=100, load_wait_s=10)
    requests = [touch(registry, name) for name in "ab" * 8]
    await asyncio.wait_for(asyncio.gather(*requests), timeout=10)
    assert loader.n_loads <= 4
    await registry.close()


async def test_unloading_while_the_model_is_loaded_leaves_nothing_behind(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A], loader, METRICS)
    loader.may_load.clear()
    loading = asyncio.create_task(registry.load("a"))
    await until(lambda: states(registry) == {"a": "loading"})
    unloading = asyncio.create_task(registry.unload("a"))
    await until(lambda: states(registry) == {"a": "unloading"})
    loader.may_load.set()
    await asyncio.gather(loading, unloading)
    assert loader.models["a"].closed
    assert states(registry) == {"a": "unloaded"}


async def test_a_stuck_model_stays_stuck_while_it_is_unloaded_and_blocks_no_other(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B], loader, METRICS, stuck_after_s=0, unload_wait_s=0.05)
    computing, go_on = threading.Event(), threading.Event()

    def script(texts: list[str]) -> None:
        computing.set()
        go_on.wait(10)

    await registry.load("a")
    loader.models["a"]._script = script
    request = asyncio.create_task(touch(registry, "a"))
    await asyncio.to_thread(computing.wait, 10)
    with pytest.raises(UnavailableError, match="still computing"):
        await registry.unload("a")
    assert states(registry)["a"] == "stuck"
    await touch(registry, "b")
    go_on.set()
    await request
    await until(lambda: states(registry)["a"] == "unloaded")
    await registry.close()


async def test_closing_does_not_wait_for_a_download_that_hangs(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A], loader, METRICS)
    loader.may_load.clear()
    loading = asyncio.create_task(registry.load("a"))
    await until(lambda: states(registry) == {"a": "loading"})
    await asyncio.wait_for(registry.close(wait_s=0.05), timeout=5)
    with pytest.raises(asyncio.CancelledError):
        await loading
    loader.may_load.set()


async def test_closing_frees_every_model(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B], loader, METRICS)
    await touch(registry, "a", "b")
    await registry.close()
    assert all(model.closed for model in loader.models.values())


async def test_an_unknown_model_is_refused_with_the_names_there_are(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B], loader, METRICS)
    with pytest.raises(ModelNotFoundError, match="a, b"):
        await touch(registry, "zebra")
