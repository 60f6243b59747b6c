"""Request ids and server timing: in every answer, in every log line, and never another request's."""

import asyncio
import logging
import re
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry

from app.api.observe import HttpMetrics, ObserveRequests
from app.core.trace import RequestIdFilter
from app.engine.model_runner import SHORT_CHARS
from tests.api.conftest import Serve
from tests.fakes import FakeLoader, FakeModel
from tests.pictures import png
from tests.scrape import scrape

FRESH = re.compile(r"[0-9a-f]{32}")
TIMING = re.compile(r"[a-z]+;dur=\d+\.\d\d(, [a-z]+;dur=\d+\.\d\d)*")
PAGE = {"file": ("page.png", png(), "image/png")}


def phases(answer: httpx.Response) -> dict[str, float]:
    """Milliseconds of each phase."""
    header = answer.headers["server-timing"]
    assert TIMING.fullmatch(header)
    return {name: float(ms) for name, _, ms in (entry.partition(";dur=") for entry in header.split(", "))}


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """Lines as the server's handler writes them."""
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"[{record.request_id}] {record.getMessage()}")  # type: ignore[attr-defined]

    handler = Handler()
    handler.addFilter(RequestIdFilter())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/health", None, 200),
        ("HEAD", "/health", None, 200),
        ("GET", "/docs", None, 200),
        ("GET", "/metrics", None, 200),
        ("POST", "/vectorize", {"text": "a"}, 200),
        ("POST", "/vectorize", {"text": "nonsense"}, 400),
        ("POST", "/vectorize", {"text": "x" * 101}, 413),
        ("POST", "/vectorize", {"text": "x" * 5000}, 413),
        ("POST", "/vectorize", {}, 422),
        ("POST", "/vectorize", {"text": "explode"}, 500),
        ("POST", "/vectorize", {"text": "memory"}, 503),
        ("POST", "/no/such/path", {}, 404),
        ("PUT", "/vectorize", {}, 405),
    ],
)
async def test_every_answer_bears_an_id_and_its_time(
    serving: Serve, method: str, path: str, body: object, status: int
) -> None:
    async with serving(max_text_chars=100, max_body_mb=0.004) as client:
        ids = set()
        for sent in ({}, {}, {"X-Request-Id": "mine-1.2_3"}):
            answer = await client.request(method, path, json=body, headers=sent)
            assert answer.status_code == status
            assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]
            assert 0 < phases(answer)["total"] < 60_000
            ids.add(answer.headers["x-request-id"])
    fresh = ids - {"mine-1.2_3"}
    assert len(fresh) == 2
    assert all(FRESH.fullmatch(one) for one in fresh)


async def test_strangers_and_streams_get_one_too(serving: Serve) -> None:
    async with serving(api_key="s3cret") as client:
        stranger = await client.get("/v1/models", headers={"X-Request-Id": "mine"})
        assert (stranger.status_code, stranger.headers["x-request-id"]) == (401, "mine")
        sent = {"X-Request-Id": "mine", "X-API-Key": "s3cret"}
        stream = await client.post("/query/single/heatmap", data={"query": "red"}, files=PAGE, headers=sent)
        assert (stream.headers["content-type"], stream.headers["x-request-id"]) == ("application/zip", "mine")
        assert {"queue", "prepare", "model", "encode", "total"} <= phases(stream).keys()


@pytest.mark.parametrize("sent", [b"", b"a b", b"a\tb", b"x" * 129, b"caf\xe9", b"a,b", b'"a"', b"a;b=c", b"\x1b[31m"])
async def test_an_id_that_might_forge_a_log_line_is_not_taken_over(client: httpx.AsyncClient, sent: bytes) -> None:
    answer = await client.get("/health", headers={b"x-request-id": sent})
    assert FRESH.fullmatch(answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/vectorize", {"json": {"text": "a"}}),
        ("/vectorize-batch", {"json": {"items": ["a"] * 40}}),
        ("/vectorize-hybrid", {"json": {"text": "a"}}),
        ("/vectorize-batch-hybrid", {"json": {"items": ["a"]}}),
        ("/rerank", {"json": {"query": "a", "candidates": ["b"]}}),
        ("/embed/queries", {"json": {"queries": ["a"]}}),
        ("/embed/images", {"files": {"files": png()}}),
        ("/predict", {"json": {"text": ["a"]}}),
        ("/interpret", {"data": {"query": "red"}, "files": PAGE}),
        ("/query/single", {"data": {"query": "red"}, "files": PAGE}),
        ("/query/single/heatmap", {"data": {"query": "red", "token_idx": "0"}, "files": PAGE}),
    ],
)
async def test_routes_with_models_tell_their_phases(
    client: httpx.AsyncClient, path: str, body: dict[str, object]
) -> None:
    first, second = await client.post(path, **body), await client.post(path, **body)  # type: ignore[arg-type]
    assert list(phases(first)) == ["load", "queue", "prepare", "model", "encode", "total"]
    times = phases(second)
    assert list(times) == ["queue", "prepare", "model", "encode", "total"]
    assert times["total"] >= max(times.values()) - 0.01


async def test_two_requests_never_mix(monkeypatch: pytest.MonkeyPatch, serving: Serve, log_lines: list[str]) -> None:
    """Four wait together and fail one by one; each line and each time is its own request's."""
    loader = FakeLoader()
    prepare_text = FakeModel.prepare_text

    def prepare_and_log(model: FakeModel, item: object) -> object:
        logging.getLogger("prepare").info("preparing")
        return prepare_text(model, item)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeModel, "prepare_text", prepare_and_log)
    async with serving(loader) as client:
        await client.post("/models/bge-m3/load", headers={"X-Request-Id": "loader"})
        log_lines.clear()
        loader.may_encode.clear()

        async def post(name: str, text: str) -> httpx.Response:
            # Long enough to be prepared in a thread.
            body = {"text": f"{'x' * SHORT_CHARS} {text}", "model": "bge-m3"}
            return await client.post("/vectorize", json=body, headers={"X-Request-Id": name})

        first = asyncio.create_task(post("first", "a"))
        await asyncio.to_thread(loader.encoding.wait, 30)
        others = [asyncio.create_task(post(f"n{number}", "explode" + " a" * number)) for number in range(4)]
        while (await scrape(client)).value("manyvec_queue_length", model="bge-m3") < len(others):
            assert not first.done()
        loader.may_encode.set()
        good = await first
        answers = await asyncio.gather(*others)
    assert good.headers["x-request-id"] == "first"
    assert [answer.headers["x-request-id"] for answer in answers] == ["n0", "n1", "n2", "n3"]
    assert "model" in phases(good)
    assert all("model" not in phases(answer) for answer in answers)
    failures = sorted(line for line in log_lines if "the model failed" in line)
    assert failures == [f"[n{number}] the model failed on an input of {number + 4} tokens" for number in range(4)]
    prepared = sorted(line for line in log_lines if "preparing" in line)
    assert prepared == ["[first] preparing", *(f"[n{number}] preparing" for number in range(4))]


async def test_loading_is_logged_for_the_request_that_asked_for_it(serving: Serve, log_lines: list[str]) -> None:
    async with serving() as client:
        await client.post("/models/bge-m3/load", headers={"X-Request-Id": "loader"})
        logging.getLogger("test").info("outside")
    assert "[loader] loaded bge-m3" in log_lines
    assert "[-] outside" in log_lines


async def test_no_line_a_request_at_info(client: httpx.AsyncClient, log_lines: list[str]) -> None:
    await client.post("/vectorize", json={"text": "a"})
    log_lines.clear()
    await client.post("/vectorize", json={"text": "a"})
    assert [line for line in log_lines if "HTTP Request" not in line] == []


async def test_what_the_server_logs_of_a_bug_bears_the_id(log_lines: list[str]) -> None:
    """As uvicorn does, in the task that it has made for the request."""

    async def broken(scope: object, receive: object, send: object) -> None:
        raise ValueError("bug")

    app = ObserveRequests(broken, HttpMetrics(CollectorRegistry()))
    scope = {"type": "http", "method": "GET", "headers": [(b"x-request-id", b"mine")]}

    async def request() -> None:
        try:
            await app(scope, None, None)  # type: ignore[arg-type]
        except ValueError:
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application")

    await asyncio.create_task(request())
    assert log_lines == ["[mine] Exception in ASGI application"]
