"""A loader that does what a test tells it to, and what tests do with a registry over it."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from app.core.types import TextInput
from app.engine.config import ModelConfig
from app.engine.lane import PrepareThreads
from app.engine.metrics import EngineMetrics
from app.engine.model_runner import ModelRunner, RunnerLimits
from app.engine.registry import ModelRegistry
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


async def touch(registry: ModelRegistry, *names: str) -> None:
    for name in names:
        async with registry.use(name) as runner:
            await runner.encode([TextInput("x")])


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - bounded by the test's timeout
        await asyncio.sleep(0)


def states(registry: ModelRegistry) -> dict[str, str]:
    return {status.config.name: str(status.state) for status in registry.statuses()}
