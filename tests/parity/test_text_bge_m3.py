"""BGE-M3 through HTTP against FlagEmbedding on the pickles of the same checkpoint."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.starter.text import build_bge_m3
from tests.hub_pickles import write_hub_pickles
from tests.parity.support import MIN_COSINE, cosines, serve
from tests.parity.texts import LONG, MIXED, VERY_LONG

pytestmark = pytest.mark.parity

TEXTS = [*MIXED, LONG, VERY_LONG]
TOLERANCE = 1e-5
"""Of weights and scores in float32, and of what exceeds 1 relative to it."""


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    checkpoint = folder / "untrained/bge-m3"
    checkpoint.mkdir(parents=True)
    build_bge_m3(checkpoint)
    return folder


@pytest.fixture(scope="module")
def client(models_dir: Path, device: str) -> Iterator[TestClient]:
    with serve(models_dir, device) as client:
        yield client


@pytest.fixture(scope="module")
def reference(models_dir: Path, device: str, ask_oracle: Any) -> dict[str, np.ndarray]:
    hub = models_dir / f"hub-{device}"
    write_hub_pickles(models_dir / "untrained/bge-m3", hub)
    return ask_oracle("bge_m3.py", {"path": str(hub), "texts": TEXTS, "device": device})


@pytest.fixture(scope="module")
def ours(client: TestClient) -> list[dict[str, Any]]:
    return hybrid(client, TEXTS, sparse_keys="id")


def hybrid(client: TestClient, texts: list[str], **fields: Any) -> list[dict[str, Any]]:
    response = client.post("/vectorize-batch-hybrid", json={"items": texts, "return_colbert": True, **fields})
    response.raise_for_status()
    return response.json()["hybrid_vectors"]


def test_dense_vectors(ours: list[dict[str, Any]], reference: dict[str, np.ndarray], assert_agree: Any) -> None:
    assert_agree("BGE-M3 dense / FlagEmbedding", [vector["dense"] for vector in ours], reference["dense"])


def test_colbert_vectors(ours: list[dict[str, Any]], reference: dict[str, np.ndarray], assert_agree: Any) -> None:
    """Row for row: the shapes are compared too, so no row of padding and none too few."""
    rows = [np.array(vector["colbert"]) for vector in ours]
    assert [len(part) for part in rows] == [len(reference[f"colbert.{i}"]) for i in range(len(TEXTS))]
    expected = np.concatenate([reference[f"colbert.{i}"] for i in range(len(TEXTS))])
    assert_agree("BGE-M3 ColBERT / FlagEmbedding", np.concatenate(rows), expected)


def test_lexical_weights_by_id(ours: list[dict[str, Any]], reference: dict[str, np.ndarray]) -> None:
    for i, vector in enumerate(ours):
        ids, weights = reference[f"lexical.{i}.ids"], reference[f"lexical.{i}.weights"]
        assert vector["sparse"].keys() == set(map(str, ids)), TEXTS[i][:40]
        found = [vector["sparse"][str(token_id)] for token_id in ids]
        # Weights here go up to 5.
        np.testing.assert_allclose(found, weights, rtol=TOLERANCE, atol=TOLERANCE)


def test_lexical_weights_by_token(client: TestClient, reference: dict[str, np.ndarray]) -> None:
    """Two ids with one text: FlagEmbedding keeps the last weight that it meets, we keep the larger one."""
    for i, vector in enumerate(hybrid(client, TEXTS)):
        tokens, weights = reference[f"lexical.{i}.tokens"], reference[f"lexical.{i}.token_weights"]
        assert vector["sparse"].keys() == set(tokens)
        found = np.array([vector["sparse"][token] for token in tokens])
        tolerance = TOLERANCE * (1 + weights)
        assert (found >= weights - tolerance).all()
        if len(tokens) == len(reference[f"lexical.{i}.ids"]):
            assert (found <= weights + tolerance).all()


def test_rerank_is_colbert_score(client: TestClient, reference: dict[str, np.ndarray]) -> None:
    candidates = [*MIXED, LONG]
    for query in (0, 3, 5):
        expected = reference["scores"][query, : len(candidates)]
        body = {"query": TEXTS[query], "candidates": candidates}
        scores = client.post("/rerank", json=body).json()["scores"]
        np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
        sums = client.post("/rerank", json={**body, "normalize": False}).json()["scores"]
        np.testing.assert_allclose(sums, expected * len(reference[f"colbert.{query}"]), rtol=TOLERANCE)


def test_vectors_do_not_depend_on_their_company(client: TestClient) -> None:
    alone = [hybrid(client, [text])[0] for text in MIXED]
    together = hybrid(client, MIXED)
    reversed_order = hybrid(client, MIXED[::-1])[::-1]
    for others in (together, reversed_order):
        for one, other in zip(alone, others, strict=True):
            assert cosines(np.array(one["dense"]), np.array(other["dense"])) >= MIN_COSINE
            assert len(one["colbert"]) == len(other["colbert"])
            assert cosines(np.array(one["colbert"]), np.array(other["colbert"])).min() >= MIN_COSINE
            assert one["sparse"].keys() == other["sparse"].keys()
            np.testing.assert_allclose(list(one["sparse"].values()), list(other["sparse"].values()), atol=1e-4)


def test_a_text_longer_than_the_context_is_cut_and_said_to_be(client: TestClient) -> None:
    response = client.post("/vectorize-hybrid", json={"text": VERY_LONG, "return_colbert": True})
    assert len(response.json()["hybrid_vector"]["colbert"]) == 8192 - 1
    assert response.headers["X-Truncated"]
