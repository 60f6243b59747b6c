"""What a load balancer asks."""

import asyncio
import dataclasses

import httpx
import pytest

from app.engine.engine import Engine, ModelState, ModelStatus
from tests.api.conftest import Serve
from tests.fakes import FakeLoader


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """One model's worker computes one batch for ever."""
    models = Engine.models

    def with_a_stuck_one(engine: Engine) -> list[ModelStatus]:
        first, *others = models(engine)
        return [dataclasses.replace(first, state=ModelState.STUCK), *others]

    monkeypatch.setattr(Engine, "models", with_a_stuck_one)


async def test_welcome(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/")).json()
    assert {"message", "version", "docs"} <= answer.keys()
    assert (await client.get(answer["docs"])).status_code == 200
    assert (await client.get(answer["openapi"])).status_code == 200
    assert (await client.get(answer["models"])).status_code == 200


async def test_healthy(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health")
    health = answer.json()
    assert answer.status_code == 200
    assert (health["status"], health["model"]) == ("healthy", "multilingual-e5-large")
    assert health["device"] in ("cpu", "cuda:0", "mps")
    assert set(health["models"].values()) == {"unloaded"}


@pytest.mark.usefixtures("stuck")
async def test_a_stuck_model_makes_the_server_unhealthy_and_not_ready(client: httpx.AsyncClient) -> None:
    health, ready = await client.get("/health"), await client.get("/ready")
    assert (health.status_code, ready.status_code) == (503, 503)
    assert health.json()["status"] == "unhealthy"
    assert "stuck" in health.json()["models"].values()


async def test_ready_once_what_is_to_be_preloaded_is_loaded(serving: Serve) -> None:
    loader = FakeLoader()
    loader.may_load.clear()
    async with serving(loader, preload="bge-m3") as client:
        before = await client.get("/ready")
        loader.may_load.set()
        await client.post("/models/bge-m3/load")
        after = await client.get("/ready")
    assert (before.status_code, before.json()) == (503, {"status": "not ready"})
    assert (after.status_code, after.json()) == (200, {"status": "ready"})


async def test_a_model_that_loads_on_demand_does_not_make_the_server_unready(serving: Serve) -> None:
    loader = FakeLoader()
    loader.may_load.clear()
    async with serving(loader) as client:
        loading = asyncio.create_task(client.post("/models/bge-m3/load"))
        while (await client.get("/health")).json()["models"]["bge-m3"] != "loading":
            assert not loading.done()
        assert (await client.get("/ready")).status_code == 200
        loader.may_load.set()
        assert (await loading).status_code == 200


@pytest.mark.parametrize("path", ["/", "/health", "/ready"])
async def test_head_is_answered_as_get_is(client: httpx.AsyncClient, path: str) -> None:
    head, get = await client.head(path), await client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


@pytest.mark.usefixtures("stuck")
async def test_head_tells_of_a_stuck_model(client: httpx.AsyncClient) -> None:
    assert [(await client.head(path)).status_code for path in ("/health", "/ready")] == [503, 503]
