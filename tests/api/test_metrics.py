"""`/metrics`: what it says, in which format, and what never becomes a label."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest

from app.core import errors
from app.engine.metrics import error_kind
from tests.api.conftest import Serve
from tests.fakes import FakeLoader
from tests.scrape import Scrape, scrape

DOCUMENT = Path(__file__).parents[2] / "docs/metrics.md"
E5 = {"model": "multilingual-e5-large"}


async def test_it_is_open_and_tells_of_nobodys_key_or_text(serving: Serve) -> None:
    async with serving(api_key="s3cret") as client:
        await client.post("/vectorize", json={"text": "pr1vate"}, headers={"X-API-Key": "s3cret"})
        await client.post("/vectorize", json={"text": "pr1vate"}, headers={"X-API-Key": "wr0ng"})
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert not any(secret in answer.text for secret in ("s3cret", "pr1vate", "wr0ng"))


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=abc", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.6,*/*;q=0.2",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("application/openmetrics-text;version=x", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ],
)
async def test_the_format_is_negotiated(client: httpx.AsyncClient, accept: str, content_type: str) -> None:
    answer = await client.get("/metrics", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert answer.text.endswith("# EOF\n") == ("openmetrics" in content_type)


async def test_requests_by_route_and_status(client: httpx.AsyncClient) -> None:
    for text in ("a", "a", "nonsense", "explode"):
        await client.post("/vectorize", json={"text": text})
    await client.post("/models/bge-m3/load")
    found = await scrape(client)
    route = {"method": "POST", "route": "/vectorize"}
    by_status = {s.labels["status"]: s.value for s in found.samples("manyvec_requests_total", **route)}
    assert by_status == {"200": 2, "400": 1, "500": 1}
    assert found.value("manyvec_request_duration_seconds_count", **route) == 4
    assert found.value("manyvec_requests_total", route="/models/{name}/load", status="200") == 1
    # The scrape itself.
    assert found.value("manyvec_requests_in_flight") == 1


async def test_no_path_method_or_model_of_a_client_becomes_a_label(client: httpx.AsyncClient) -> None:
    for number in range(20):
        await client.get(f"/scan/{number}.php")
        await client.request(f"SCAN{number}", "/vectorize")
        await client.post(f"/models/scan{number}/load")
        await client.post("/vectorize", json={"text": "a", "model": f"scan{number}"})
    found = await scrape(client)
    assert not any("scan" in value.lower() for f in found.families for s in f.samples for value in s.labels.values())
    assert found.value("manyvec_requests_total", route="other", status="404") == 20
    assert found.value("manyvec_requests_total", method="other", route="/vectorize", status="405") == 20
    assert found.value("manyvec_errors_total") == 0


async def test_what_a_model_did(client: httpx.AsyncClient) -> None:
    await client.post("/vectorize-batch", json={"items": ["a b c", "a"]})
    await client.post("/vectorize", json={"text": "a"})
    found = await scrape(client)
    # Each text has two tokens more than words.
    assert found.value("manyvec_tokens_total", lane="bulk", **E5) == 8
    assert found.value("manyvec_tokens_total", lane="queries", **E5) == 3
    for name in ("prepare_wait", "prepare", "queue_wait", "model"):
        assert found.value(f"manyvec_{name}_seconds_count", lane="queries", **E5) == 1
    assert found.value("manyvec_encode_seconds_count", **E5) == 2


@pytest.mark.parametrize(
    ("text", "kind"), [("nonsense", "bad_input"), ("memory", "out_of_memory"), ("explode", "internal")]
)
async def test_errors_by_model_and_kind(client: httpx.AsyncClient, text: str, kind: str) -> None:
    await client.post("/vectorize", json={"text": text})
    found = await scrape(client)
    assert found.value("manyvec_errors_total", kind=kind, **E5) == found.value("manyvec_errors_total") == 1


async def test_gauges_are_there_while_a_model_is(client: httpx.AsyncClient) -> None:
    def gauges(found: Scrape) -> tuple[int, ...]:
        names = ("manyvec_model_memory_bytes", "manyvec_items_in_flight", "manyvec_queue_length")
        return tuple(len(list(found.samples(name, **E5))) for name in names)

    def state(found: Scrape) -> list[str]:
        return [sample.labels["state"] for sample in found.samples("manyvec_model_state", **E5) if sample.value == 1]

    before = await scrape(client)
    assert (gauges(before), state(before)) == ((0, 0, 0), ["unloaded"])
    await client.post("/vectorize", json={"text": "a"})
    loaded = await scrape(client)
    assert (gauges(loaded), state(loaded)) == ((1, 1, 2), ["ready"])
    assert loaded.value("manyvec_model_memory_bytes", **E5) == 1 << 20
    await client.post("/models/multilingual-e5-large/unload")
    after = await scrape(client)
    assert (gauges(after), state(after)) == ((0, 0, 0), ["unloaded"])
    # What was counted stays counted.
    assert after.value("manyvec_tokens_total", **E5) == loaded.value("manyvec_tokens_total", **E5)


async def test_queues_are_counted_when_asked_and_a_client_that_leaves_leaves_nothing_behind(serving: Serve) -> None:
    loader = FakeLoader()
    async with serving(loader) as client:

        async def until(name: str, value: float, **labels: str) -> None:
            while (await scrape(client)).value(name, **labels) != value:  # noqa: ASYNC110 - bounded by the test's timeout
                await asyncio.sleep(0)

        await client.post("/models/multilingual-e5-large/load")
        loader.may_encode.clear()
        first = asyncio.create_task(client.post("/vectorize", json={"text": "a"}))
        await asyncio.to_thread(loader.encoding.wait, 30)
        leavers = [asyncio.create_task(client.post("/vectorize", json={"text": "a"})) for _ in range(3)]
        bulk = asyncio.create_task(client.post("/vectorize-batch", json={"items": ["a"]}))
        await until("manyvec_queue_length", 3, lane="queries", **E5)
        await until("manyvec_items_in_flight", 5, **E5)
        await until("manyvec_requests_in_flight", 6)
        for leaver in leavers:
            leaver.cancel()
        await until("manyvec_queue_length", 0, lane="queries", **E5)
        await until("manyvec_items_in_flight", 2, **E5)
        await until("manyvec_requests_in_flight", 3)
        loader.may_encode.set()
        assert [answer.status_code for answer in await asyncio.gather(first, bulk)] == [200, 200]
        found = await scrape(client)
    assert found.value("manyvec_items_in_flight", **E5) == 0
    assert found.value("manyvec_requests_in_flight") == 1
    assert found.value("manyvec_requests_total", route="/vectorize", status="499") == 3
    assert found.value("manyvec_errors_total") == 0


async def test_the_process_is_measured_and_two_servers_share_nothing(serving: Serve) -> None:
    async with serving() as one, serving() as other:
        await one.post("/vectorize", json={"text": "a"})
        assert (await scrape(one)).value("manyvec_tokens_total") == 3
        found = await scrape(other)
        assert found.value("manyvec_tokens_total") == 0
        assert {"python_info", "python_gc_collections"} <= {family.name for family in found.families}


async def test_every_metric_is_documented_with_its_kind_and_labels(client: httpx.AsyncClient) -> None:
    await client.post("/vectorize", json={"text": "nonsense"})
    await client.post("/vectorize", json={"text": "a"})
    exported = {}
    for family in (await scrape(client)).families:
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        exported[name] = (family.type, labels)
    rows = re.findall(r"^\| `(manyvec_\w+)` \| (\w+) \| (.*?) ?\|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    of_the_process = {name for name in exported if name.startswith(("process_", "python_"))}
    assert {name: of for name, of in exported.items() if name not in of_the_process} == documented


def test_every_kind_of_error_is_documented() -> None:
    kinds = [error_kind(kind("x")) for kind in vars(errors).values() if isinstance(kind, type)]
    # Neither is ever a model's.
    missing = {kind for kind in kinds if f"`{kind}`" not in DOCUMENT.read_text(encoding="utf-8")}
    assert missing == {"manyvec", "model_not_found"}
