"""Making the next while one works on the last."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def one_ahead(items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same items in order, each being made while the one before it is in use. Closes `items` when it is closed."""
    async with aclosing(items):
        coming = asyncio.create_task(_next(items))
        try:
            while (item := await coming) is not None:
                coming = asyncio.create_task(_next(items))
                yield item[0]
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
            # Its error holds this frame, which must not hold it: what the request brought would stay in memory.
            del coming


async def _next(items: AsyncIterator[T]) -> tuple[T] | None:
    """None at the end."""
    async for item in items:
        return (item,)
    return None
