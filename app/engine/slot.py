"""The places of configured models, and how long each stays in memory. Used from one event loop."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from app.core.errors import UnavailableError
from app.engine.config import ModelConfig
from app.engine.daemon import in_daemon_thread
from app.engine.model_runner import ModelRunner, ModelUsage

log = logging.getLogger(__name__)


class Stay:
    """A model's time in memory: from the beginning of its load until its last user has left and it is freed."""

    def __init__(self) -> None:
        self.loading: asyncio.Task[ModelRunner] | None = None
        """None once the load has ended."""
        self.runner: ModelRunner | None = None
        """None until it has succeeded."""
        self._n_users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @property
    def memory_bytes(self) -> int:
        return self.runner.model.memory_bytes if self.runner else 0

    @property
    def is_used(self) -> bool:
        return self._n_users > 0

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep the model in memory until the block ends, also while it is still being loaded."""
        self._n_users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._n_users -= 1
            if self._n_users == 0:
                self._unused.set()

    async def end(self) -> None:
        """Wait for the load and the users, then free the model."""
        if self.loading is not None:
            await asyncio.wait({self.loading})
        await self._unused.wait()
        if self.runner is not None:
            await in_daemon_thread(self.runner.close)


class Slot:
    """A configured model's place."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.stay: Stay | None = None
        """The one that new requests join; None: they begin another."""
        self.leaving: dict[Stay, asyncio.Task[None]] = {}
        """Those that take no new requests, and what waits for their end."""
        self.error: str | None = None
        self.last_used = 0
        """Number of the last use among all models' uses."""

    @property
    def stays(self) -> list[Stay]:
        return [*([self.stay] if self.stay else []), *self.leaving]

    @property
    def runners(self) -> list[ModelRunner]:
        """Those in memory."""
        return [stay.runner for stay in self.stays if stay.runner]

    @property
    def memory_bytes(self) -> int:
        return sum(stay.memory_bytes for stay in self.stays)

    def usage(self) -> ModelUsage:
        """Of all that is in memory, also of what is being unloaded."""
        usages = [runner.usage() for runner in self.runners]
        lanes = dict.fromkeys(lane for usage in usages for lane in usage.queue_lengths)
        return ModelUsage(
            memory_bytes=sum(usage.memory_bytes for usage in usages),
            n_items=sum(usage.n_items for usage in usages),
            queue_lengths={lane: sum(usage.queue_lengths[lane] for usage in usages) for lane in lanes},
        )

    @property
    def being_freed(self) -> "list[asyncio.Task[None]]":
        """What waits for the end of those that are in memory and take no new requests."""
        return [task for stay, task in self.leaving.items() if stay.loading is None]

    def leave(self) -> None:
        """Let the present stay end, if there is one."""
        stay, self.stay = self.stay, None
        if stay is not None:
            self.leaving[stay] = asyncio.create_task(stay.end(), name=f"unload-{self.config.name}")
            self.leaving[stay].add_done_callback(lambda task: self._ended(stay, task))

    async def left(self, wait_s: float) -> None:
        """Until those that take no new requests have ended. Raises `UnavailableError` after `wait_s`; they go on."""
        if not self.leaving:
            return
        _, late = await asyncio.wait(self.leaving.values(), timeout=wait_s)
        if late:
            raise UnavailableError(f"The model {self.config.name} is still computing; it is freed when it is done.")

    def _ended(self, stay: Stay, task: "asyncio.Task[None]") -> None:
        del self.leaving[stay]
        if task.cancelled():
            return
        if error := task.exception():
            log.error("cannot free %s", self.config.name, exc_info=error)
        elif stay.runner:
            log.info("unloaded %s", self.config.name)
