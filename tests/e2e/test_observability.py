"""A real server's log, metrics and headers."""

import contextlib
import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Server, running_server
from tests.scrape import Scrape

pytestmark = pytest.mark.e2e


def scraped(server: Server) -> Scrape:
    return Scrape(httpx.get(f"{server.url}/metrics", timeout=60).text)


def test_the_log_names_requests(tmp_path: Path) -> None:
    with running_server(tmp_path, LOG_LEVEL="debug") as server:
        httpx.post(f"{server.url}/vectorize", json={"text": "a"}, headers={"X-Request-Id": "mine-1"}, timeout=60)
        httpx.get(f"{server.url}/no/such/path", headers={"X-Request-Id": "mine-2"})
        lines = server.log.splitlines()
    accesses = [line.partition(" INFO    ")[2] for line in lines if "uvicorn.access" in line]
    assert [access.split()[0] for access in accesses] == ["[mine-1]", "[mine-2]"]
    (loaded,) = [line for line in lines if "app.engine.registry: loaded " in line]
    assert "[mine-1]" in loaded
    assert any("[-] uvicorn.error: Application startup complete" in line for line in lines)


def test_a_client_that_leaves_is_counted_and_not_kept(server: Server) -> None:
    with contextlib.suppress(httpx.ReadTimeout):
        httpx.post(f"{server.url}/vectorize-batch", json={"items": ["word " * 400] * 400}, timeout=0.3)
    deadline = time.monotonic() + 60
    left = {"route": "/vectorize-batch", "status": "499"}
    while scraped(server).value("manyvec_requests_total", **left) < 1 or scraped(server).value(
        "manyvec_items_in_flight"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert scraped(server).value("manyvec_requests_in_flight") == 1


def test_the_process_is_measured(server: Server) -> None:
    found = scraped(server)
    assert found.value("process_resident_memory_bytes") > 1e8
    assert found.value("process_cpu_seconds_total") > 0
