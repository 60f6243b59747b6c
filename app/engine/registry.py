"""The models that are configured, and which of them are in memory. Used from one event loop."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.core.errors import ManyvecError, ModelLoadError, ModelLoadingError, ModelNotFoundError
from app.engine.config import ModelConfig
from app.engine.model_runner import ModelRunner
from app.families.base import Checkpoint, ModelInfo

log = logging.getLogger(__name__)


class ModelState(StrEnum):
    """Where a configured model is in its life."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
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
    error: str | None = None
    """Why the last load failed."""


class Loader(Protocol):
    """Brings a configured model into memory. Both methods block and raise `ModelLoadError`."""

    def fetch(self, config: ModelConfig) -> Checkpoint:
        """Find the checkpoint on disk; download it if it is not there."""

    def load(self, config: ModelConfig, checkpoint: Checkpoint) -> ModelRunner:
        """Read it into memory and put it into service."""

    def memory_needed(self, config: ModelConfig, checkpoint: Checkpoint) -> int:
        """Estimate of the bytes that loading it takes."""


class Slot:
    """A configured model's place: empty, being filled, or holding a runner."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.runner: ModelRunner | None = None
        self.error: str | None = None
        self.loading: asyncio.Task[ModelRunner] | None = None
        self.n_users = 0
        self.last_used = 0
        """Number of the last use among all models' uses."""
        self.idle = asyncio.Event()
        self.idle.set()

    @property
    def memory_bytes(self) -> int:
        return self.runner.model.info.memory_bytes if self.runner else 0


class ModelRegistry:
    """Loads models on first use, unloads them, and evicts the least recently used within a memory budget."""

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        loader: Loader,
        *,
        memory_budget_bytes: int | None = None,
        load_wait_s: float = 120.0,
        stuck_after_s: float = 300.0,
    ) -> None:
        self._slots = {config.name: Slot(config) for config in configs}
        self._loader = loader
        self._budget = memory_budget_bytes
        self._load_wait_s = load_wait_s
        self._stuck_after_s = stuck_after_s
        self._uses = itertools.count(1)
        # One model enters or leaves memory at a time, so that the budget holds.
        self._memory = asyncio.Lock()

    def configs(self) -> list[ModelConfig]:
        return [slot.config for slot in self._slots.values()]

    def statuses(self) -> list[ModelStatus]:
        """All configured models in the order of the models file."""
        return [self.status(name) for name in self._slots]

    def status(self, name: str) -> ModelStatus:
        slot = self._slot(name)
        return ModelStatus(
            config=slot.config,
            state=self._state(slot),
            info=slot.runner.model.info if slot.runner else None,
            error=slot.error,
        )

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[ModelRunner]:
        """The loaded model, which stays in memory until the block ends.

        Raises `ModelLoadingError` if loading takes longer than `load_wait_s` (it goes on), `ModelLoadError`.
        """
        slot = self._slot(name)
        while (runner := slot.runner) is None:
            await self._wait_for_load(slot)
        slot.n_users += 1
        slot.last_used = next(self._uses)
        slot.idle.clear()
        try:
            yield runner
        finally:
            slot.n_users -= 1
            if slot.n_users == 0:
                slot.idle.set()

    async def load(self, name: str) -> ModelStatus:
        """Load and wait until the model is ready, however long it takes."""
        slot = self._slot(name)
        if slot.runner is None:
            await asyncio.shield(self._start_loading(slot))
        return self.status(name)

    async def unload(self, name: str) -> ModelStatus:
        """Finish the requests that use the model, then free its memory."""
        # Not cancelled with the caller: a model that is half out of memory would be neither served nor freed.
        await asyncio.shield(asyncio.create_task(self._unload(self._slot(name))))
        return self.status(name)

    async def close(self) -> None:
        """Finish what was accepted and free every model."""
        for slot in self._slots.values():
            if slot.loading:
                slot.loading.cancel()
        for slot in self._slots.values():
            await self._unload(slot)

    def _slot(self, name: str) -> Slot:
        if name not in self._slots:
            raise ModelNotFoundError("No such model. Models served here: " + ", ".join(self._slots) + ".")
        return self._slots[name]

    def _state(self, slot: Slot) -> ModelState:
        if slot.runner:
            return ModelState.READY if slot.runner.is_healthy(self._stuck_after_s) else ModelState.STUCK
        if slot.loading:
            return ModelState.LOADING
        return ModelState.FAILED if slot.error else ModelState.UNLOADED

    async def _wait_for_load(self, slot: Slot) -> None:
        try:
            await asyncio.wait_for(asyncio.shield(self._start_loading(slot)), self._load_wait_s)
        except TimeoutError:
            raise ModelLoadingError(f"The model {slot.config.name} is still being loaded; try again soon.") from None

    def _start_loading(self, slot: Slot) -> asyncio.Task[ModelRunner]:
        """The one task that loads the model, shared by all who wait for it."""
        if slot.loading is None:
            slot.loading = asyncio.create_task(self._load(slot), name=f"load-{slot.config.name}")
            slot.loading.add_done_callback(lambda task: self._loading_done(slot, task))
        return slot.loading

    def _loading_done(self, slot: Slot, task: asyncio.Task[ModelRunner]) -> None:
        slot.loading = None
        error = None if task.cancelled() else task.exception()
        slot.error = None
        if error is not None:
            slot.error = error.message if isinstance(error, ManyvecError) else "Loading failed; see the server's log."
            log.error("cannot load %s: %s", slot.config.name, error, exc_info=not isinstance(error, ManyvecError))

    async def _load(self, slot: Slot) -> ModelRunner:
        checkpoint = await asyncio.to_thread(self._loader.fetch, slot.config)
        async with self._memory:
            await self._make_room(slot, self._loader.memory_needed(slot.config, checkpoint))
            slot.runner = await asyncio.to_thread(self._loader.load, slot.config, checkpoint)
            slot.last_used = next(self._uses)
            log.info("loaded %s", slot.config.name)
            # The estimate may have been too low.
            await self._make_room(slot, 0)
            return slot.runner

    async def _unload(self, slot: Slot) -> None:
        async with self._memory:
            await self._free(slot)

    async def _make_room(self, newcomer: Slot, n_bytes: int) -> None:
        """Evict the least recently used models until `n_bytes` more fit into the budget."""
        if self._budget is None:
            return
        if n_bytes > self._budget:
            raise ModelLoadError(
                f"The model {newcomer.config.name} takes about {n_bytes >> 20} MB, more than MEMORY_BUDGET_MB allows."
            )
        loaded = [slot for slot in self._slots.values() if slot.runner and slot is not newcomer]
        for slot in sorted(loaded, key=lambda slot: slot.last_used):
            if sum(slot.memory_bytes for slot in self._slots.values()) + n_bytes <= self._budget:
                return
            log.info("evicting %s", slot.config.name)
            await self._free(slot)

    async def _free(self, slot: Slot) -> None:
        runner, slot.runner = slot.runner, None
        if runner is None:
            return
        await slot.idle.wait()
        await asyncio.to_thread(runner.close)
        log.info("unloaded %s", slot.config.name)
