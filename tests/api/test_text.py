"""Section B: what clients of the text service send and get."""

import threading

import httpx
import numpy as np
import pytest

from app.api import text as text_routes
from app.api import vectors
from app.api.schemas.options import VectorOptions
from app.core.quantization import StoredVectors
from app.core.types import FloatArray
from tests.api.conftest import Serve
from tests.fakes import DIM, MAX_WORDS

LONG = "word " * (MAX_WORDS + 1)


async def vector(client: httpx.AsyncClient, **body: object) -> list[float]:
    answer = await client.post("/vectorize", json=body)
    assert answer.status_code == 200, answer.text
    result: list[float] = answer.json()["vector"]
    return result


async def test_a_text_is_a_query_unless_it_says_otherwise(client: httpx.AsyncClient) -> None:
    assert len(await vector(client, text="hello")) == DIM
    assert await vector(client, text="hello") == await vector(client, text="hello", is_query=True)
    assert await vector(client, text="hello") != await vector(client, text="hello", is_query=False)


async def test_a_batch_holds_passages_unless_it_says_otherwise(client: httpx.AsyncClient) -> None:
    answer = await client.post("/vectorize-batch", json={"items": ["a", "b"]})
    assert answer.json()["vectors"] == [await vector(client, text=text, is_query=False) for text in "ab"]
    answer = await client.post("/vectorize-batch", json={"items": ["a"], "is_query": True})
    assert answer.json()["vectors"] == [await vector(client, text="a")]


@pytest.mark.parametrize(
    "items", [{"x": "a", "7": "b"}, [{"id": "x", "text": "a"}, {"id": 7, "text": "b"}]], ids=["object", "list"]
)
async def test_vectors_come_by_id_when_ids_came(client: httpx.AsyncClient, items: object) -> None:
    answer = await client.post("/vectorize-batch", json={"items": items})
    expected = {key: await vector(client, text=text, is_query=False) for key, text in {"x": "a", "7": "b"}.items()}
    assert answer.json()["vectors"] == expected
    hybrid = await client.post("/vectorize-batch-hybrid", json={"items": items})
    assert hybrid.json()["hybrid_vectors"].keys() == {"x", "7"}


@pytest.mark.parametrize(("items", "empty"), [([], []), ({}, {})])
async def test_no_items_give_no_vectors(client: httpx.AsyncClient, items: object, empty: object) -> None:
    assert (await client.post("/vectorize-batch", json={"items": items})).json() == {"vectors": empty}


async def test_ids_that_come_twice_are_refused(client: httpx.AsyncClient) -> None:
    items = [{"id": "1", "text": "a"}, {"id": 1, "text": "b"}]
    answer = await client.post("/vectorize-batch", json={"items": items})
    assert answer.status_code == 400
    assert "twice" in answer.json()["detail"]


@pytest.mark.parametrize(
    "items",
    [
        *(None, "text", 5, [1], ["a", None], {"secret": 1}),
        *([{"id": "secret"}], [{"text": "a"}], [{"id": True, "text": "a"}]),
        *([{"id": "a", "text": "b"}, "c"], ["c", {"id": "a", "text": "b"}]),
    ],
)
async def test_items_of_another_shape_are_refused_without_echo(client: httpx.AsyncClient, items: object) -> None:
    answer = await client.post("/vectorize-batch", json={"items": items})
    assert answer.status_code == 422
    message = 'items: Send a list of texts, an object of id to text, or a list of {"id", "text"}.'
    assert answer.json()["detail"] == message
    assert "secret" not in answer.text


async def test_hybrid_texts_are_searches_or_passages_as_dense_ones_are(client: httpx.AsyncClient) -> None:
    async def read(path: str, **body: object) -> list[float]:
        answer = (await client.post(path, json=body)).json()
        hybrid = answer["hybrid_vectors"][0] if "hybrid_vectors" in answer else answer["hybrid_vector"]
        return hybrid["dense"]  # type: ignore[no-any-return]

    one, many = "/vectorize-hybrid", "/vectorize-batch-hybrid"
    search, passage = await read(one, text="a"), await read(many, items=["a"])
    assert search != passage
    assert await read(one, text="a", is_query=False) == passage
    assert await read(many, items=["a"], is_query=True) == search


async def test_hybrid_vectors_have_three_parts(client: httpx.AsyncClient) -> None:
    answer = await client.post("/vectorize-hybrid", json={"text": "tall mountain", "return_colbert": True})
    hybrid = answer.json()["hybrid_vector"]
    assert len(hybrid["dense"]) == DIM
    assert hybrid["sparse"] == {"tall": 1, "mountain": 0.5}
    assert np.shape(hybrid["colbert"]) == (3, DIM)


async def test_colbert_is_null_unless_asked_for(client: httpx.AsyncClient) -> None:
    answer = await client.post("/vectorize-hybrid", json={"text": "tall"})
    assert answer.json()["hybrid_vector"]["colbert"] is None


async def test_tokens_come_in_order_if_they_are_asked_for(client: httpx.AsyncClient) -> None:
    body = {"text": "a tall tall mountain", "return_colbert": True}
    hybrid = (await client.post("/vectorize-hybrid", json=body | {"return_tokens": True})).json()["hybrid_vector"]
    assert hybrid["tokens"] == ["a", "tall", "tall", "mountain"]
    assert len(hybrid["colbert"]) == len(hybrid["tokens"]) + 1
    answer = await client.post("/vectorize-batch-hybrid", json={"items": ["tall", ""], "return_tokens": True})
    assert [one["tokens"] for one in answer.json()["hybrid_vectors"]] == [["tall"], []]
    assert [one["colbert"] for one in answer.json()["hybrid_vectors"]] == [None, None]


async def test_tokens_are_absent_unless_asked_for(client: httpx.AsyncClient) -> None:
    answer = await client.post("/vectorize-hybrid", json={"text": "tall", "return_colbert": True})
    assert answer.json()["hybrid_vector"].keys() == {"dense", "sparse", "colbert"}


async def test_two_ids_of_one_text_keep_the_larger_weight(client: httpx.AsyncClient) -> None:
    answer = await client.post("/vectorize-hybrid", json={"text": "x Apple y apple"})
    assert answer.json()["hybrid_vector"]["sparse"]["apple"] == 0.5


async def test_sparse_keys_may_be_vocabulary_ids(client: httpx.AsyncClient) -> None:
    answer = await client.post("/vectorize-hybrid", json={"text": "Apple apple", "sparse_keys": "id"})
    sparse = answer.json()["hybrid_vector"]["sparse"]
    assert sorted(sparse.values()) == [0.5, 1]
    assert all(key.isdecimal() for key in sparse)


async def test_hybrid_on_a_model_without_the_heads_names_those_that_have_them(client: httpx.AsyncClient) -> None:
    answer = await client.post("/vectorize-hybrid", json={"text": "x", "model": "multilingual-e5-large"})
    assert answer.status_code == 400
    assert "bge-m3" in answer.json()["detail"]


async def test_the_default_text_model_is_configured(serving: Serve) -> None:
    async with serving(model_name="BAAI/bge-m3") as client:
        await vector(client, text="a")
        health = (await client.get("/health")).json()
    assert health["model"] == "bge-m3"
    assert health["models"]["bge-m3"] == "ready"


async def test_truncated_texts_are_listed(client: httpx.AsyncClient) -> None:
    for path, body in {
        "/vectorize": {"text": LONG},
        "/vectorize-hybrid": {"text": LONG},
        "/vectorize-batch": {"items": [LONG, "short"]},
        "/vectorize-batch-hybrid": {"items": [LONG, "short"]},
    }.items():
        assert (await client.post(path, json=body)).headers["x-truncated"] == "0"


async def test_an_empty_text_and_odd_characters_are_embedded(client: httpx.AsyncClient) -> None:
    for text in ("", " ", "\0", "\u202e\ufffe\U0010ffff", "e\u0301" * 100):
        await vector(client, text=text)


@pytest.mark.parametrize(("n_items", "own"), [(1, False), (8, False), (9, True)])
async def test_answers_of_many_texts_are_made_in_threads_of_their_own(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, n_items: int, own: bool
) -> None:
    """A search's answer need not wait behind them."""
    made_in: list[str] = []

    def dense(vector: FloatArray, options: VectorOptions) -> StoredVectors:
        made_in.append(threading.current_thread().name)
        return vectors.dense(vector, options)

    monkeypatch.setattr(text_routes, "dense", dense)
    answer = await client.post("/vectorize-batch", json={"items": ["red"] * n_items})
    assert answer.status_code == 200
    assert {name.startswith("bulk-answer") for name in made_in} == {own}
