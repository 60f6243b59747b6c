"""E5 through HTTP against sentence-transformers on the same checkpoint folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from starlette.testclient import TestClient

from app.starter.text import build_e5
from tests.parity.support import MIN_COSINE, cosines, serve
from tests.parity.texts import LONG, MIXED

pytestmark = pytest.mark.parity

MODEL = "e5-untrained"


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    checkpoint = folder / "untrained/e5"
    checkpoint.mkdir(parents=True)
    build_e5(checkpoint)
    return folder


@pytest.fixture(scope="module")
def client(models_dir: Path, device: str) -> Iterator[TestClient]:
    with serve(models_dir, device) as client:
        yield client


@pytest.fixture(scope="module")
def reference(models_dir: Path, device: str) -> SentenceTransformer:
    return SentenceTransformer(str(models_dir / "untrained/e5"), device=device, model_kwargs={"dtype": torch.float32})


def vectorize_batch(client: TestClient, texts: list[str], **fields: Any) -> np.ndarray:
    response = client.post("/vectorize-batch", json={"items": texts, "model": MODEL, **fields})
    response.raise_for_status()
    return np.array(response.json()["vectors"])


@pytest.mark.parametrize(("is_query", "prefix"), [(True, "query: "), (False, "passage: ")])
def test_vectors_are_those_of_sentence_transformers(
    client: TestClient, reference: SentenceTransformer, assert_agree: Any, is_query: bool, prefix: str
) -> None:
    texts = [*MIXED, LONG]
    ours = vectorize_batch(client, texts, is_query=is_query)
    assert_agree(f"E5 {prefix.strip()} / sentence-transformers", ours, reference.encode([prefix + t for t in texts]))


def test_one_text_at_a_time_is_a_query_by_default(
    client: TestClient, reference: SentenceTransformer, assert_agree: Any
) -> None:
    ours = [client.post("/vectorize", json={"text": text}).json()["vector"] for text in MIXED[:4]]
    assert_agree("E5 /vectorize", ours, reference.encode(["query: " + text for text in MIXED[:4]]))


def test_a_vector_does_not_depend_on_its_company(client: TestClient) -> None:
    alone = np.concatenate([vectorize_batch(client, [text]) for text in MIXED])
    together = vectorize_batch(client, MIXED)
    reversed_order = vectorize_batch(client, MIXED[::-1])[::-1]
    assert cosines(together, alone).min() >= MIN_COSINE
    assert cosines(reversed_order, alone).min() >= MIN_COSINE


def test_unlike_texts_have_unlike_vectors(client: TestClient) -> None:
    """Else the comparisons above would pass with anything."""
    vectors = vectorize_batch(client, MIXED)
    similarities = vectors @ vectors.T
    assert similarities[~np.eye(len(MIXED), dtype=bool)].max() < 0.99
