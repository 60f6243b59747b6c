"""What is noted of a request while it is handled: its id, its model, and where its time goes.

The request travels in a context variable, so whoever does something for it can name it without being handed it. Code
that leaves the request's task takes the context along: `contextvars.copy_context().run(...)`.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class RequestTrace:
    """One request. Written on the event loop alone."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.model: str | None = None
        """Served name, once it is chosen."""
        self.seconds: dict[str, float] = {}
        """What each phase took."""
        self._began = time.perf_counter()

    def elapsed_s(self) -> float:
        """Seconds since the request came."""
        return time.perf_counter() - self._began


current_request: ContextVar[RequestTrace | None] = ContextVar("current_request", default=None)
"""None outside of requests."""


def note_model(name: str) -> None:
    """The current request, if there is one, is answered by this model."""
    if (trace := current_request.get()) is not None:
        trace.model = name


def note_phase(phase: str, seconds: float) -> None:
    """One of the request's inputs spent that long in a phase. They go through it side by side: the longest counts."""
    if (trace := current_request.get()) is not None:
        trace.seconds[phase] = max(seconds, trace.seconds.get(phase, 0.0))


@contextmanager
def timed_phase(phase: str) -> Iterator[None]:
    """The block is a step that the whole request waits for. Steps come one after the other: they are added up."""
    began = time.perf_counter()
    try:
        yield
    finally:
        if (trace := current_request.get()) is not None:
            trace.seconds[phase] = trace.seconds.get(phase, 0.0) + time.perf_counter() - began


class RequestIdFilter(logging.Filter):
    """Gives log records a `request_id` for the handler's format: that of the request they are written for, else `-`."""

    def filter(self, record: logging.LogRecord) -> bool:
        trace = current_request.get()
        record.request_id = "-" if trace is None else trace.request_id
        return True
