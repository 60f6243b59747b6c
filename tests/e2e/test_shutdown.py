"""What becomes of accepted work when the server is told to stop, and of work whose client has left."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Server, running_server

LONG_WORK = {"items": ["word " * 400] * 400}
"""Takes this server some seconds."""


def test_sigterm_drains_what_was_accepted(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, ThreadPoolExecutor(1) as threads:
        assert httpx.post(f"{server.url}/vectorize", json={"text": "load the model"}, timeout=60).status_code == 200
        accepted = threads.submit(httpx.post, f"{server.url}/vectorize-batch", json=LONG_WORK, timeout=60)
        wait_until_busy(server)
        server.process.send_signal(signal.SIGTERM)
        answer = accepted.result(timeout=60)
        assert answer.status_code == 200
        assert len(answer.json()["vectors"]) == 400
        server.assert_clean_exit()


def test_ctrl_c_ends_quietly(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=60) == 0
        assert "Traceback" not in server.log


def test_a_client_that_leaves_stops_costing(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        httpx.post(f"{server.url}/vectorize", json={"text": "load the model"}, timeout=60)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/vectorize-batch", json=LONG_WORK, timeout=httpx.Timeout(60, read=0.3))
        started = time.monotonic()
        left_behind = httpx.post(f"{server.url}/vectorize-batch", json={"items": ["short"]}, timeout=60)
        waited = time.monotonic() - started
        assert left_behind.status_code == 200
        full = time_of_long_work(server)
        assert waited < full / 2, "the request waited for the work of the client that had left"


def time_of_long_work(server: Server) -> float:
    started = time.monotonic()
    assert httpx.post(f"{server.url}/vectorize-batch", json=LONG_WORK, timeout=60).status_code == 200
    return time.monotonic() - started


def wait_until_busy(server: Server) -> None:
    """Until the request has been read: the server answers others, and then this one is under way."""
    for _ in range(3):
        httpx.get(f"{server.url}/health", timeout=60)
    threading.Event().wait(0.2)
