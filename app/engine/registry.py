"""The models that are configured, and which of them are in memory. Used from one event loop."""

import asyncio
import itertools
import logging
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.core.errors import ManyvecError, ModelLoadingError, ModelNotFoundError
from app.core.trace import timed_phase
from app.engine.config import ModelConfig
from app.engine.daemon import in_daemon_thread
from app.engine.memory_budget import MemoryBudget
from app.engine.metrics import EngineMetrics
from app.engine.model_runner import ModelRunner, ModelUsage
from app.engine.slot import Slot, Stay
from app.families.base import Checkpoint, ModelInfo

log = logging.getLogger(__name__)


class ModelState(StrEnum):
    """Where a configured model is in its life."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    """It takes no new requests and is freed when those that it has are answered."""
    FAILED = "failed"
    """The last load failed; the next request tries again."""
    STUCK = "stuck"
    """Its worker is dead or has computed one batch for too long."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A configured model and what is known of it now."""

    config: ModelConfig
    state: ModelState
    info: ModelInfo | None = None
    """None until it is loaded."""
    memory_bytes: int | None = None
    """As its model counts them; None until it is loaded."""
    error: str | None = None
    """Why the last load failed."""


class Loader(Protocol):
    """Brings a configured model into memory. Its methods block and raise `ModelLoadError`."""

    def fetch(self, config: ModelConfig) -> Checkpoint:
        """Find the checkpoint on disk; download it if it is not there."""

    def load(self, config: ModelConfig, checkpoint: Checkpoint, metrics: EngineMetrics) -> ModelRunner:
        """Read it into memory and put it into service."""

    def memory_needed(self, config: ModelConfig, checkpoint: Checkpoint) -> int:
        """Estimate of the bytes that loading it now takes."""


class ModelRegistry:
    """Loads models on first use, unloads them, and evicts the least recently used within a memory budget."""

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        loader: Loader,
        metrics: EngineMetrics,
        *,
        memory_budget_bytes: int | None = None,
        load_wait_s: float = 120.0,
        stuck_after_s: float = 300.0,
        unload_wait_s: float = 30.0,
    ) -> None:
        self._slots = {config.name: Slot(config) for config in configs}
        self._removed: list[Slot] = []
        self._loader = loader
        self._metrics = metrics
        self._budget = MemoryBudget(memory_budget_bytes, self._all_slots, unload_wait_s)
        self._load_wait_s = load_wait_s
        self._stuck_after_s = stuck_after_s
        self._unload_wait_s = unload_wait_s
        self._uses = itertools.count(1)

    def configs(self) -> list[ModelConfig]:
        return [slot.config for slot in self._slots.values()]

    def statuses(self) -> list[ModelStatus]:
        """All configured models in the order of the models file."""
        return [self.status(name) for name in self._slots]

    def status(self, name: str) -> ModelStatus:
        slot = self._slot(name)
        runner = slot.stay.runner if slot.stay else None
        return ModelStatus(
            config=slot.config,
            state=self._state(slot),
            info=runner.model.info if runner else None,
            memory_bytes=runner.model.memory_bytes if runner else None,
            error=slot.error,
        )

    def usages(self) -> dict[str, ModelUsage]:
        """What each model holds that has anything in memory, by served name."""
        return {name: slot.usage() for name, slot in self._slots.items() if slot.runners}

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[ModelRunner]:
        """The loaded model, which stays in memory until the block ends.

        Raises `ModelLoadingError` if loading takes longer than `load_wait_s` (it goes on), `ModelLoadError`.
        """
        slot = self._slot(name)
        stay = slot.stay or self._begin(slot)
        with stay.claim():
            runner = await self._loaded(slot, stay, self._load_wait_s)
            slot.last_used = next(self._uses)
            yield runner
        self._budget.check(slot)

    def begin(self, name: str) -> None:
        """Begin to load the model unless it is loaded or being loaded."""
        slot = self._slot(name)
        if slot.stay is None:
            self._begin(slot)

    async def load(self, name: str) -> ModelStatus:
        """Load and wait until the model is ready, however long it takes."""
        slot = self._slot(name)
        await self._loaded(slot, slot.stay or self._begin(slot), None)
        return self.status(name)

    async def unload(self, name: str) -> ModelStatus:
        """Finish the requests that use the model, then free its memory.

        Raises `UnavailableError` if that takes longer than `unload_wait_s`; it goes on.
        """
        slot = self._slot(name)
        slot.leave()
        await slot.left(self._unload_wait_s)
        return self.status(name)

    def put(self, config: ModelConfig) -> None:
        """Serve this model from now on; requests that use another of its name are answered by that one."""
        slot = self._slots.setdefault(config.name, Slot(config))
        # Also if the configuration is the same: other files may lie in the folder that it names.
        slot.leave()
        slot.config = config
        slot.error = None

    async def remove(self, name: str) -> None:
        """Take no more requests for the model, finish those that it has, free its memory.

        Raises `UnavailableError` if that takes longer than `unload_wait_s`; it goes on.
        """
        slot = self._slot(name)
        del self._slots[name]
        self._removed = [*(other for other in self._removed if other.leaving), slot]
        slot.leave()
        await slot.left(self._unload_wait_s)

    async def close(self, wait_s: float = 10.0) -> None:
        """Finish what was accepted and free every model; what takes longer than `wait_s` is abandoned."""
        self._budget.close()
        for slot in self._all_slots():
            for stay in slot.stays:
                if stay.loading:
                    stay.loading.cancel()
            slot.leave()
        leaving = [task for slot in self._all_slots() for task in slot.leaving.values()]
        if leaving:
            _, late = await asyncio.wait(leaving, timeout=wait_s)
            if late:
                log.error("%d models were still computing when the server ended", len(late))

    def _all_slots(self) -> list[Slot]:
        """With those that are removed, which may still hold memory."""
        return [*self._slots.values(), *self._removed]

    def _slot(self, name: str) -> Slot:
        if name not in self._slots:
            raise ModelNotFoundError("No such model. Models served here: " + ", ".join(self._slots) + ".")
        return self._slots[name]

    def _state(self, slot: Slot) -> ModelState:
        if not all(runner.is_healthy(self._stuck_after_s) for runner in slot.runners):
            return ModelState.STUCK
        if slot.stay:
            return ModelState.READY if slot.stay.runner else ModelState.LOADING
        if slot.leaving:
            return ModelState.UNLOADING
        return ModelState.FAILED if slot.error else ModelState.UNLOADED

    async def _loaded(self, slot: Slot, stay: Stay, wait_s: float | None) -> ModelRunner:
        if stay.loading is None:
            assert stay.runner is not None  # noqa: S101 - a stay whose load failed is no longer in its slot
            return stay.runner
        try:
            with timed_phase("load"):
                return await asyncio.wait_for(asyncio.shield(stay.loading), wait_s)
        except TimeoutError:
            raise ModelLoadingError(f"The model {slot.config.name} is still being loaded; try again soon.") from None

    def _begin(self, slot: Slot) -> Stay:
        """A new stay, shared by all who wait for its load."""
        stay = slot.stay = Stay()
        stay.loading = asyncio.create_task(self._load(slot, stay), name=f"load-{slot.config.name}")
        stay.loading.add_done_callback(lambda task: self._load_ended(slot, stay, task))
        return stay

    def _load_ended(self, slot: Slot, stay: Stay, task: asyncio.Task[ModelRunner]) -> None:
        stay.loading = None
        error = None if task.cancelled() else task.exception()
        # Not of a model that has been replaced meanwhile.
        if slot.stay is stay:
            slot.error = _reason(error) if error else None
            if stay.runner is None:
                slot.stay = None
        if error is not None:
            # Of our own errors the message says it all, unless it stands for another one.
            cause = error.__cause__ if isinstance(error, ManyvecError) else error
            log.error("cannot load %s: %s", slot.config.name, error, exc_info=cause)
            # Its frames hold what had been read into memory.
            traceback.clear_frames(error.__traceback__)

    async def _load(self, slot: Slot, stay: Stay) -> ModelRunner:
        config = slot.config
        checkpoint = await in_daemon_thread(lambda: self._loader.fetch(config))
        async with self._budget.room_for(slot, lambda: self._loader.memory_needed(config, checkpoint)):
            stay.runner = await in_daemon_thread(lambda: self._loader.load(config, checkpoint, self._metrics))
            slot.last_used = next(self._uses)
            log.info("loaded %s", config.name)
        return stay.runner


def _reason(error: BaseException) -> str:
    return error.message if isinstance(error, ManyvecError) else "Loading failed; see the server's log."
