"""Items that are made while others are in use."""

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import pytest

from app.api.ahead import one_ahead


class Items:
    """0, 1, 2, ... as they are asked for; -1 in their place is a bug."""

    def __init__(self, n_items: int, bug_at: int | None = None) -> None:
        self.n_items = n_items
        self.bug_at = bug_at
        self.made = asyncio.Condition()
        self.last = -1
        self.closed = False

    async def __call__(self) -> AsyncGenerator[int, None]:
        try:
            for item in range(self.n_items):
                if item == self.bug_at:
                    raise ValueError("bug")
                async with self.made:
                    self.last = item
                    self.made.notify_all()
                yield item
        finally:
            self.closed = True

    async def wait_for(self, item: int) -> None:
        async with self.made:
            await self.made.wait_for(lambda: self.last >= item)


@pytest.mark.parametrize("n_items", [0, 1, 2, 5])
async def test_the_same_items_in_order(n_items: int) -> None:
    items = Items(n_items)
    assert [item async for item in one_ahead(items())] == list(range(n_items))
    assert items.closed


async def test_the_next_is_made_while_one_is_in_use_and_no_more() -> None:
    items = Items(3)
    async for item in one_ahead(items()):
        await asyncio.wait_for(items.wait_for(min(item + 1, 2)), timeout=10)
        assert items.last == min(item + 1, 2)


async def test_an_error_comes_in_its_turn() -> None:
    items = Items(3, bug_at=1)
    ahead = one_ahead(items())
    assert await anext(ahead) == 0
    with pytest.raises(ValueError, match="bug"):
        await anext(ahead)
    assert items.closed


async def test_who_stops_early_closes_the_items() -> None:
    items = Items(5)
    async with aclosing(one_ahead(items())) as ahead:
        async for _ in ahead:
            break
    assert items.closed
    assert items.last <= 1


async def test_who_is_cancelled_closes_the_items() -> None:
    items, using = Items(5), asyncio.Event()

    async def use() -> None:
        async with aclosing(one_ahead(items())) as ahead:
            async for _ in ahead:
                using.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await using.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert items.closed


async def test_an_error_leaves_nothing_of_the_request_in_memory() -> None:
    class Upload:
        pass

    uploads: list[weakref.ref[Upload]] = []

    async def request() -> None:
        upload = Upload()
        uploads.append(weakref.ref(upload))
        async with aclosing(one_ahead(Items(3, bug_at=1)())) as items:
            async for _ in items:
                pass

    gc.disable()
    try:
        with suppress(ValueError):
            await request()
        # What was called back for holds the error until then.
        await asyncio.sleep(0.01)
        assert uploads[0]() is None
    finally:
        gc.enable()
