"""`/rerank` with `candidates`."""

import asyncio
from typing import Any
from unittest import mock

import httpx
import numpy as np
import pytest

from app.api import rerank
from app.core.types import Embedding
from app.engine.model_runner import ModelRunner
from tests.fakes import MAX_WORDS, SUFFIX, word_vector

CANDIDATES = ["red bees", "green", "red", ""]


def colbert_score(query: str, candidate: str) -> float:
    """As FlagEmbedding's `colbert_score`: the first row of either side takes no part."""
    rows, others = ([word_vector(word) for word in (*text.split(), SUFFIX)] for text in (query, candidate))
    return float(np.mean([max(float(row @ other) for other in others) for row in rows]))


async def test_scores_come_in_the_order_of_the_candidates(client: httpx.AsyncClient) -> None:
    answer = await client.post("/rerank", json={"query": "red honey", "candidates": CANDIDATES, "batch_size": 12})
    expected = [colbert_score("red honey", candidate) for candidate in CANDIDATES]
    assert answer.json() == {"scores": pytest.approx(expected, abs=1e-6)}


async def test_the_sum_instead_of_the_mean(client: httpx.AsyncClient) -> None:
    body = {"query": "red honey", "candidates": CANDIDATES}
    mean = (await client.post("/rerank", json=body)).json()["scores"]
    total = (await client.post("/rerank", json=body | {"normalize": False})).json()["scores"]
    assert total == pytest.approx([3 * score for score in mean])


async def test_candidates_overtake_an_ingest(client: httpx.AsyncClient) -> None:
    with mock.patch.object(ModelRunner, "encode", autospec=True, side_effect=ModelRunner.encode) as encode:
        await client.post("/rerank", json={"query": "red", "candidates": CANDIDATES})
        await client.post("/vectorize-batch", json={"items": CANDIDATES})
    assert [call.kwargs["interactive"] for call in encode.call_args_list] == [True, False]


async def test_no_candidates_have_no_scores(client: httpx.AsyncClient) -> None:
    answer = await client.post("/rerank", json={"query": "x", "candidates": []})
    assert answer.json() == {"scores": []}
    assert answer.headers["x-usage-tokens"] == "0"


async def test_a_visual_model_reranks_too_and_a_dense_one_does_not(client: httpx.AsyncClient) -> None:
    body = {"query": "red", "candidates": ["green", "red"]}
    visual = await client.post("/rerank", json=body | {"model": "colqwen2.5-v0.2"})
    assert np.argmax(visual.json()["scores"]) == 1
    dense = await client.post("/rerank", json=body | {"model": "multilingual-e5-large"})
    assert dense.status_code == 400
    assert "bge-m3" in dense.json()["detail"]


async def test_truncated_candidates_and_query_are_listed(client: httpx.AsyncClient) -> None:
    long = "word " * (MAX_WORDS + 1)
    answer = await client.post("/rerank", json={"query": long, "candidates": ["short", long]})
    assert answer.headers["x-truncated"] == "query,1"


async def test_groups_of_candidates_are_scored_as_all_at_once(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"query": "red honey", "candidates": [*CANDIDATES, "word " * (MAX_WORDS + 1), "green"]}
    whole = await client.post("/rerank", json=body)
    monkeypatch.setattr(rerank, "GROUP_CHARS", 10)
    with mock.patch.object(ModelRunner, "encode", autospec=True, side_effect=ModelRunner.encode) as encode:
        grouped = await client.post("/rerank", json=body)
    assert [len(call.args[1]) for call in encode.call_args_list] == [1, 1, 3, 1, 1]
    assert grouped.json() == whole.json()
    # In float32, as the other scores are: of float64 there would be twice as many digits.
    assert all(str(np.float32(score)) == str(score) for score in whole.json()["scores"])
    for header in ("x-truncated", "x-usage-tokens"):
        assert grouped.headers[header] == whole.headers[header]


async def test_an_error_in_a_later_group_names_its_candidate(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerank, "GROUP_CHARS", 1)
    body = {"query": "a", "candidates": ["b", "word " * (MAX_WORDS + 1)], "truncate": False}
    answer = await client.post("/rerank", json=body)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"candidates[1] is longer than the {MAX_WORDS + 2} tokens")


async def test_one_model_scores_all_groups(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerank, "GROUP_CHARS", 1)
    runners: list[ModelRunner] = []
    unloading: list[asyncio.Task[httpx.Response]] = []
    encode = ModelRunner.encode

    async def encode_and_unload(runner: ModelRunner, *args: Any, **kwargs: Any) -> list[Embedding]:
        runners.append(runner)
        if not unloading:
            unloading.append(asyncio.create_task(client.post("/models/bge-m3/unload")))
        await asyncio.sleep(0.05)
        return await encode(runner, *args, **kwargs)

    monkeypatch.setattr(ModelRunner, "encode", encode_and_unload)
    answer = await client.post("/rerank", json={"query": "red", "candidates": ["red", "green", "blue"]})
    assert answer.status_code == 200
    assert (await unloading[0]).status_code == 200
    assert len(runners) == 4
    assert len(set(map(id, runners))) == 1
