"""`/rerank` with `candidates`."""

from unittest import mock

import httpx
import numpy as np
import pytest

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
