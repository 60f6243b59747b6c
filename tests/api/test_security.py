"""The API key."""

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Mount, Route

from app import api
from tests.api.conftest import Serve

KEY = "s3cret-ключ"
OPEN = {("get", "/"), ("get", "/health"), ("get", "/ready"), ("get", "/metrics")}


async def test_every_route_asks_for_the_key_but_those_named_here(serving: Serve) -> None:
    async with serving(api_key=KEY) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        operations = {(method, path) for path, methods in paths.items() for method in methods}
        assert len(operations) > 15
        assert operations >= OPEN
        for method, path in operations:
            answer = await client.request(method, path.replace("{name}", "bge-m3"))
            assert (answer.status_code == 401) == ((method, path) not in OPEN), (method, path, answer.status_code)
            assert "security" in paths[path][method] or (method, path) in OPEN
        assert (await client.get("/docs")).status_code == 200


async def test_nothing_is_served_that_the_document_does_not_list(client: httpx.AsyncClient) -> None:
    """So that the test above sees every route."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    documented = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    documented |= {("HEAD", path) for path in ("/", "/health", "/ready")}
    routes = [route for router in (*api.OPEN, *api.KEYED) for route in router.routes]
    assert all(isinstance(route, APIRoute) for route in routes)
    assert {(method, route.path) for route in routes for method in route.methods} == documented
    app = client._transport.app  # type: ignore[attr-defined]
    beside_routers = {route.path for route in app.routes if isinstance(route, Route | Mount)}
    pages = {"/docs", "/docs/oauth2-redirect", "/redoc", "/static-offline-docs", "/playground", "/playground/examples"}
    assert beside_routers == {"/openapi.json", *pages}


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer {KEY}"},
        {"X-API-Key": KEY},
        {"X-API-Key": KEY, "Authorization": "Bearer something else"},
    ],
)
async def test_the_right_key_opens(serving: Serve, headers: dict[str, str]) -> None:
    async with serving(api_key=KEY) as client:
        answer = await client.get("/v1/models", headers={name: value.encode() for name, value in headers.items()})
    assert answer.status_code == 200


@pytest.mark.parametrize("key", ["voil\u00e0", "\u00c5", "\u00e0-key-\u00c5"])
@pytest.mark.parametrize("header", ["Authorization: Bearer  KEY", "X-API-Key: KEY"])
async def test_a_key_may_end_in_bytes_that_look_like_white_space(serving: Serve, key: str, header: str) -> None:
    """UTF-8 of these letters ends in A0 and 85: a hard space and a line end in Latin-1."""
    name, _, value = header.replace("KEY", key).partition(": ")
    async with serving(api_key=key) as client:
        assert (await client.get("/v1/models", headers={name: value.encode()})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": "\xff\xfe"},
        {"X-API-Key": "日本"},
    ],
)
async def test_a_wrong_key_is_401_and_says_how_to_send_it(serving: Serve, headers: dict[str, str]) -> None:
    async with serving(api_key=KEY) as client:
        answer = await client.get("/v1/models", headers={name: value.encode() for name, value in headers.items()})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "X-API-Key" in answer.json()["detail"]


async def test_an_empty_key_is_no_key(serving: Serve) -> None:
    async with serving(api_key="") as client:
        assert (await client.get("/v1/models")).status_code == 200


async def test_the_body_of_a_stranger_is_not_read(serving: Serve) -> None:
    async def body() -> object:
        raise AssertionError("read")
        yield b""

    async with serving(api_key=KEY) as client:
        for path in ("/vectorize", "/embed/images"):
            answer = await client.post(path, content=body(), headers={"content-type": "application/json"})
            assert answer.status_code == 401
