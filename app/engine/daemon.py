"""Work that may hang: threads that keep neither other work nor the end of the program waiting."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own and wait for it.

    Downloads and loads must not use asyncio's pool: a few that hang would fill it, and the program ends only when
    all its threads do. Cancelling the wait leaves the thread alone. What `work` logs bears the caller's request.
    """
    future: Future[T] = Future()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), daemon=True).start()
    return await asyncio.wrap_future(future)
