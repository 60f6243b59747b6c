"""Room in memory for models: those that were used least recently leave for others. Used from one event loop."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from app.core.errors import ModelLoadError, UnavailableError
from app.engine.daemon import in_daemon_thread
from app.engine.slot import Slot

log = logging.getLogger(__name__)


class MemoryBudget:
    """Keeps what all models take within a limit; models that leave for others finish their requests first."""

    def __init__(self, limit_bytes: int | None, slots: Callable[[], Sequence[Slot]], unload_wait_s: float) -> None:
        """`slots` tells all that may hold memory now; who leaves is waited for `unload_wait_s`. None: no limit."""
        self._limit_bytes = limit_bytes
        self._slots = slots
        self._unload_wait_s = unload_wait_s
        # One model comes into memory at a time, so that the budget holds.
        self._entrance = asyncio.Lock()
        self._growth: asyncio.Task[None] | None = None
        """What makes room for a loaded model that has grown."""

    @asynccontextmanager
    async def room_for(self, newcomer: Slot, memory_needed: Callable[[], int]) -> AsyncIterator[None]:
        """Within the block the newcomer alone comes into memory. `memory_needed` estimates its bytes, in a thread.

        Raises `ModelLoadError` if it takes more than all of the budget, `UnavailableError` if another model does not
        leave in time.
        """
        async with self._entrance:
            if self._limit_bytes is not None:
                # Twice, as the base that it was to share may have had to leave.
                for _ in range(2):
                    await self._make_room(newcomer, await in_daemon_thread(memory_needed))
            yield
        # The estimate may have been too low.
        self.check(newcomer)

    def check(self, slot: Slot) -> None:
        """Begin to make room if this model has grown beyond the budget.

        Models grow while they compute: OpenVINO lays weights out again for a second thread and for adapters.
        """
        if self._growth is None and not self._fits(0):
            self._growth = asyncio.create_task(self._after_growth(slot), name=f"room-for-{slot.config.name}")

    def close(self) -> None:
        """Evict no more models."""
        self._limit_bytes = None
        if self._growth:
            self._growth.cancel()

    async def _after_growth(self, slot: Slot) -> None:
        try:
            async with self._entrance:
                await self._make_room(slot, 0)
        except UnavailableError as error:
            log.warning("the memory budget is exceeded for now: %s", error)
        finally:
            self._growth = None

    def _fits(self, n_bytes: int) -> bool:
        """True if so much more is within the budget."""
        limit = self._limit_bytes
        return limit is None or sum(slot.memory_bytes for slot in self._slots()) + n_bytes <= limit

    async def _make_room(self, newcomer: Slot, n_bytes: int) -> None:
        """Until `n_bytes` more fit, wait for models that leave anyway, then evict others one by one.

        Raises what `room_for` does.
        """
        if self._limit_bytes is not None and n_bytes > self._limit_bytes:
            raise ModelLoadError(
                f"The model {newcomer.config.name} takes about {n_bytes >> 20} MB, more than MEMORY_BUDGET_MB allows."
            )
        late: set[asyncio.Task[None]] = set()
        """What was waited for in vain: a model that hangs must not keep the others from making room."""
        while not self._fits(n_bytes):
            leaving = {task for slot in self._slots() for task in slot.being_freed} - late
            if leaving:
                first = asyncio.FIRST_COMPLETED
                ended, going_on = await asyncio.wait(leaving, timeout=self._unload_wait_s, return_when=first)
                if not ended:
                    late |= going_on
            elif not self._evict_one(newcomer, also_used=not late):
                break
        else:
            return
        names = sorted({slot.config.name for slot in self._slots() if late.intersection(slot.being_freed)})
        if names:
            raise UnavailableError(
                f"There is no room in memory for {newcomer.config.name} while these still compute: {', '.join(names)}."
            )

    def _evict_one(self, newcomer: Slot, *, also_used: bool) -> bool:
        """Let the model leave whose last use is the longest ago, of those that nobody uses if there are any.

        It may take nothing now: the weights that it shares are its own once those before it are gone. False: there is
        none.
        """
        stays = {
            slot: stay
            for slot in self._slots()
            if slot is not newcomer and (stay := slot.stay) and stay.loading is None and (also_used or not stay.is_used)
        }
        if not stays:
            return False
        slot = min(stays, key=lambda slot: (stays[slot].is_used, slot.last_used))
        log.info("evicting %s", slot.config.name)
        slot.leave()
        return True
