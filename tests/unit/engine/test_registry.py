"""Loading, sharing, unloading and evicting models."""

import asyncio
import gc
import threading
import weakref

import pytest

from app.core.errors import (
    ModelLoadError,
    ModelLoadingError,
    ModelNotFoundError,
    UnavailableError,
)
from app.core.types import TextInput
from app.engine.config import ModelConfig
from app.engine.metrics import EngineMetrics
from app.engine.model_runner import ModelRunner
from app.engine.registry import ModelRegistry, ModelState
from app.families.base import Checkpoint
from tests.unit.engine.scripted_loader import METRICS, A, B, ScriptedLoader, states, touch, until


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


async def test_the_cause_of_a_failed_load_is_logged(loader: ScriptedLoader, caplog: pytest.LogCaptureFixture) -> None:
    registry = ModelRegistry([A], loader, METRICS)
    loader.error = ModelLoadError("The checkpoint cannot be read.")
    loader.error.__cause__ = OSError("no such file: model.safetensors")
    with pytest.raises(ModelLoadError):
        await touch(registry, "a")
    assert "no such file: model.safetensors" in caplog.text
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


async def test_closing_does_not_wait_for_a_download_of_a_model_that_was_unloaded_meanwhile(
    loader: ScriptedLoader,
) -> None:
    registry = ModelRegistry([A], loader, METRICS, unload_wait_s=0.05)
    loader.may_load.clear()
    loading = asyncio.create_task(registry.load("a"))
    await until(lambda: states(registry) == {"a": "loading"})
    with pytest.raises(UnavailableError):
        await registry.unload("a")
    await asyncio.wait_for(registry.close(wait_s=10), timeout=5)
    with pytest.raises(asyncio.CancelledError):
        await loading
    loader.may_load.set()


async def test_unloading_waits_also_for_what_was_replaced_before(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A], loader, METRICS)
    async with registry.use("a"):
        older = loader.models["a"]
        registry.put(A)
        await touch(registry, "a")
        unloading = asyncio.create_task(registry.unload("a"))
        await until(lambda: loader.models["a"].closed)
        assert not unloading.done()
    await unloading
    assert older.closed
    await registry.close()


async def test_a_model_that_cannot_be_freed_is_logged(
    loader: ScriptedLoader, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = ModelRegistry([A], loader, METRICS)
    async with registry.use("a") as loaded:
        pass

    def fail(runner: ModelRunner) -> None:
        raise OSError("the driver is gone")

    with monkeypatch.context() as patch:
        patch.setattr(ModelRunner, "close", fail)
        assert (await registry.unload("a")).state == ModelState.UNLOADED
    assert "cannot free a" in caplog.text
    assert "the driver is gone" in caplog.text
    loaded.close()


async def test_closing_frees_every_model(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B], loader, METRICS)
    await touch(registry, "a", "b")
    await registry.close()
    assert all(model.closed for model in loader.models.values())


async def test_an_unknown_model_is_refused_with_the_names_there_are(loader: ScriptedLoader) -> None:
    registry = ModelRegistry([A, B], loader, METRICS)
    with pytest.raises(ModelNotFoundError, match="a, b"):
        await touch(registry, "zebra")
