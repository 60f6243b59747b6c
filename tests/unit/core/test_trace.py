"""What is noted of a request, and that log lines name it."""

import asyncio
import logging
import threading
from contextlib import suppress
from contextvars import copy_context

from app.core.trace import RequestIdFilter, RequestTrace, current_request, note_model, note_phase, timed_phase


def test_of_inputs_side_by_side_the_longest_counts() -> None:
    trace = RequestTrace("a")
    token = current_request.set(trace)
    for seconds in (1.0, 3.0, 2.0):
        note_phase("model", seconds)
    current_request.reset(token)
    assert trace.seconds == {"model": 3.0}


def test_steps_are_added_up_also_those_that_fail() -> None:
    trace = RequestTrace("a")
    token = current_request.set(trace)
    with timed_phase("encode"):
        threading.Event().wait(0.01)
    with suppress(ValueError), timed_phase("encode"):
        threading.Event().wait(0.01)
        int("not a number")
    current_request.reset(token)
    assert trace.seconds["encode"] >= 0.02


def test_outside_of_requests_nothing_is_noted() -> None:
    note_model("e5")
    note_phase("model", 1.0)
    with timed_phase("encode"):
        assert current_request.get() is None


async def test_two_requests_never_mix() -> None:
    both_began = asyncio.Barrier(2)

    async def request(name: str, seconds: float) -> RequestTrace:
        trace = RequestTrace(name)
        current_request.set(trace)
        note_model(name)
        await both_began.wait()
        await asyncio.to_thread(note_phase, "model", seconds)
        assert current_request.get() is trace
        return trace

    traces = await asyncio.gather(request("a", 1.0), request("b", 2.0))
    assert [(trace.model, trace.seconds) for trace in traces] == [("a", {"model": 1.0}), ("b", {"model": 2.0})]


def test_a_log_record_bears_the_id_of_its_request_and_else_a_dash() -> None:
    def request_id() -> object:
        record = logging.LogRecord("x", logging.INFO, "", 0, "message", (), None)
        assert RequestIdFilter().filter(record)
        return record.request_id  # type: ignore[attr-defined]

    context = copy_context()
    context.run(current_request.set, RequestTrace("mine"))
    assert (context.run(request_id), request_id()) == ("mine", "-")
