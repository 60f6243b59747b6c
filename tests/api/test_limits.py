"""What one request may bring, and how many are answered at once."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.api.conftest import Serve
from tests.fakes import FakeLoader
from tests.pictures import b64, png

JSON = {"content-type": "application/json"}


async def pieces(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def json_of(n_bytes: int) -> bytes:
    frame = b'{"text": ""}'
    return frame[:-2] + b"x" * (n_bytes - len(frame)) + frame[-2:]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_may_have_so_many_bytes_and_no_more(serving: Serve, chunked: bool) -> None:
    async with serving(max_body_mb=0.01) as client:
        for n_bytes, status in ((10485, 200), (10486, 413)):
            content = json_of(n_bytes)
            answer = await client.post("/vectorize", content=pieces(content) if chunked else content, headers=JSON)
            assert answer.status_code == status
            if status == 413:
                assert "0.01 MiB" in answer.json()["detail"]


async def test_forms_have_the_same_limit(serving: Serve) -> None:
    async with serving(max_body_mb=0.01) as client:
        answer = await client.post("/embed/images", files={"files": b"x" * 20_000})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/vectorize-batch", {"items": ["a"] * 4}),
        ("/vectorize-batch", {"items": {str(i): "a" for i in range(4)}}),
        ("/vectorize-batch-hybrid", {"items": ["a"] * 4}),
        ("/rerank", {"query": "a", "candidates": ["a"] * 4}),
        ("/embed/queries", {"queries": ["a"] * 4}),
        ("/patches", {"dimensions": [{"width": 64, "height": 64}] * 4}),
        ("/predict", {"image_data": [b64(png())] * 4}),
        ("/predict", {"image": [b64(png())] * 2, "text": ["a"] * 2}),
    ],
)
async def test_more_items_than_allowed(serving: Serve, path: str, body: dict[str, object]) -> None:
    async with serving(max_items=3) as client:
        answer = await client.post(path, json=body)
    assert answer.status_code == 413
    assert "3 items" in answer.text


@pytest.mark.parametrize("n_files", [4, 40])
async def test_more_files_than_allowed(serving: Serve, n_files: int) -> None:
    async with serving(max_items=3) as client:
        answer = await client.post("/embed/images", files=[("files", ("a.png", png(), "image/png"))] * n_files)
    assert answer.status_code == 413
    assert " 3" in answer.json()["detail"]


async def test_more_form_fields_than_any_route_has(client: httpx.AsyncClient) -> None:
    answer = await client.post("/interpret", data={f"field{i}": "x" for i in range(200)}, files={"file": png()})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/vectorize", {"text": "x" * 101}),
        ("/vectorize-batch", {"items": ["a", "x" * 101]}),
        ("/vectorize-hybrid", {"text": "x" * 101}),
        ("/rerank", {"query": "x" * 101, "candidates": ["a"]}),
        ("/rerank", {"query": "a", "candidates": ["x" * 101]}),
        ("/embed/queries", {"queries": "x" * 101}),
        ("/predict", {"text": "x" * 101}),
    ],
)
async def test_longer_texts_than_allowed(serving: Serve, path: str, body: dict[str, object]) -> None:
    async with serving(max_text_chars=100) as client:
        answer = await client.post(path, json=body)
    assert answer.status_code == 413
    assert "100 characters" in answer.text


@pytest.mark.parametrize("n_chars", [101, 5000])
async def test_longer_form_texts_than_allowed(serving: Serve, n_chars: int) -> None:
    async with serving(max_text_chars=100) as client:
        answer = await client.post("/query/single", data={"query": "x" * n_chars}, files={"file": png()})
    assert answer.status_code == 413


async def test_more_requests_at_once_than_allowed_get_503_but_health_answers(serving: Serve) -> None:
    loader = FakeLoader()
    async with serving(loader, max_concurrent_requests=1) as client:
        loader.may_encode.clear()
        first = asyncio.create_task(client.post("/vectorize", json={"text": "a"}))
        await asyncio.to_thread(loader.encoding.wait, 30)
        second = await client.post("/vectorize", json={"text": "b"})
        assert second.status_code == 503
        assert int(second.headers["retry-after"]) > 0
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/ready")).status_code == 200
        loader.may_encode.set()
        assert (await first).status_code == 200
        assert (await client.post("/vectorize", json={"text": "b"})).status_code == 200


async def test_a_failed_request_gives_its_place_back(serving: Serve) -> None:
    async with serving(max_concurrent_requests=1) as client:
        for body in ({}, {"text": "explode"}, {"text": "nonsense"}):
            assert (await client.post("/vectorize", json=body)).status_code >= 400
        assert (await client.post("/vectorize", json={"text": "b"})).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/patches", {"dimensions": [{}] * 100}),
        ("/vectorize-batch", {"items": [{"id": 1, "text": ""}] * 100}),
        ("/vectorize-batch", {"items": {str(i): None for i in range(100)}}),
        ("/predict", {"inputs": {"text": [None] * 100}}),
    ],
)
async def test_items_are_counted_before_they_are_looked_at(serving: Serve, path: str, body: dict[str, object]) -> None:
    """A body has room for millions; each of these would be an error by itself."""
    async with serving(max_items=99) as client:
        answer = await client.post(path, json=body)
    assert answer.status_code == 413
    assert "99 items" in answer.text


async def test_lists_of_options_are_no_items(serving: Serve) -> None:
    body = {"image_data": b64(png()), "embedding_types": ["cls_token", "patch_features"]}
    async with serving(max_items=1) as client:
        assert (await client.post("/predict", json=body)).status_code == 200
