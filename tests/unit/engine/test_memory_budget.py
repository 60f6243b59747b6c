"""Models make room for each other."""

import asyncio
import threading

import pytest

from app.core.errors import ModelLoadError, UnavailableError
from app.engine.config import ModelConfig
from app.engine.lane import PrepareThreads
from app.engine.metrics import EngineMetrics
from app.engine.model_runner import ModelRunner
from app.engine.registry import ModelRegistry
from app.families.base import Checkpoint
from tests.unit.engine.scripted_loader import METRICS, A, B, C, ScriptedLoader, states, touch, until


async def test_a_model_that_took_more_than_was_thought_answers_though_no_other_can_leave(
    loader: ScriptedLoader, caplog: pytest.LogCaptureFixture
) -> None:
    registry = ModelRegistry([A, B], loader, METRICS, memory_budget_bytes=200, unload_wait_s=0.01)
    await touch(registry, "a")
    async with registry.use("a"):
        loader.memory_bytes = 150
        await touch(registry, "b")
        await until(lambda: "the memory budget is exceeded for now" in caplog.text)
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


async def test_a_model_that_leaves_anyway_is_waited_for_before_another_is_evicted(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B, C], loader, METRICS, memory_budget_bytes=200)
    await touch(registry, "a", "b")
    async with registry.use("b"):
        unloading = asyncio.create_task(registry.unload("b"))
        loading = asyncio.create_task(touch(registry, "c"))
        await asyncio.sleep(0.05)
        assert states(registry) == {"a": "ready", "b": "unloading", "c": "loading"}
    await asyncio.gather(unloading, loading)
    assert states(registry) == {"a": "ready", "b": "unloaded", "c": "ready"}
    await registry.close()


async def test_a_model_that_does_not_leave_keeps_no_other_from_making_room(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B, C], loader, METRICS, memory_budget_bytes=200, unload_wait_s=0.05)
    await touch(registry, "b", "a")
    async with registry.use("b"):
        with pytest.raises(UnavailableError, match="still computing"):
            await registry.unload("b")
        await touch(registry, "c")
        assert states(registry) == {"a": "unloaded", "b": "unloading", "c": "ready"}
    await registry.close()


async def test_a_model_that_is_used_leaves_after_those_that_are_not(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B, C], loader, METRICS, memory_budget_bytes=200)
    async with registry.use("a"):
        await touch(registry, "b", "c")
        assert states(registry) == {"a": "ready", "b": "unloaded", "c": "ready"}
    await registry.close()


async def test_where_all_are_used_one_alone_leaves(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B, C], loader, METRICS, memory_budget_bytes=200, unload_wait_s=0.05)
    async with registry.use("a"), registry.use("b"):
        with pytest.raises(UnavailableError, match="while these still compute: a"):
            await touch(registry, "c")
        assert states(registry)["b"] == "ready"
    await touch(registry, "c")
    await registry.close()


async def test_nobody_waits_for_the_eviction_that_a_low_estimate_calls_for(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B], loader, METRICS, memory_budget_bytes=200)
    async with registry.use("a"):
        loader.memory_bytes = 150
        await asyncio.wait_for(touch(registry, "b"), timeout=5)
        await until(lambda: states(registry) == {"a": "unloading", "b": "ready"})
    await until(lambda: states(registry) == {"a": "unloaded", "b": "ready"})
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
        async with registry._budget._entrance:
            # The one that needs room stands before the newer version of the one that is to make it.
            for name in ("c", "a"):
                waiting.append(asyncio.create_task(touch(registry, name)))
                await until(lambda: len(registry._budget._entrance._waiters or ()) == len(waiting))
    await asyncio.wait_for(asyncio.gather(*waiting), timeout=10)
    await registry.close()


async def test_a_removed_model_counts_until_it_has_left(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B], loader, METRICS, memory_budget_bytes=100, unload_wait_s=0.05)
    async with registry.use("a"):
        with pytest.raises(UnavailableError):
            await registry.remove("a")
        with pytest.raises(UnavailableError, match="while these still compute: a"):
            await touch(registry, "b")
        assert loader.n_loads == 1
    await touch(registry, "b")
    assert loader.n_loads == 2
    assert sum(slot.memory_bytes for slot in registry._all_slots()) == 100
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
