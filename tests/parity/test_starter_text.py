"""The trained text starters through HTTP against sentence-transformers and FlagEmbedding on the same files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from starlette.testclient import TestClient

from app.settings import REPO
from tests.hub_pickles import write_hub_pickles
from tests.parity.support import serve
from tests.parity.texts import MIXED

pytestmark = pytest.mark.parity

MODELS = REPO / "models"
E5, BGE_M3 = MODELS / "starter/e5-starter", MODELS / "starter/bge-m3-starter"

MODELS_FILE = """
[[model]]
name = "e5-starter"
family = "e5"
checkpoint = "starter/e5-starter"
license = "MIT"

[[model]]
name = "bge-m3-starter"
family = "bge-m3"
checkpoint = "starter/bge-m3-starter"
license = "MIT"
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, device: str) -> Iterator[TestClient]:
    models_file = tmp_path_factory.mktemp("starter") / "models.toml"
    models_file.write_text(MODELS_FILE, encoding="utf-8")
    with serve(MODELS, device, models_file) as client:
        yield client


def ask(client: TestClient, path: str, **body: Any) -> dict[str, Any]:
    response = client.post(path, json=body)
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer


def test_e5_vectors(client: TestClient, device: str, assert_agree: Any) -> None:
    ours = ask(client, "/vectorize-batch", items=MIXED, model="e5-starter", is_query=False)["vectors"]
    reference = SentenceTransformer(str(E5), device=device, model_kwargs={"dtype": torch.float32})
    assert_agree("e5-starter / sentence-transformers", ours, reference.encode(["passage: " + text for text in MIXED]))


def test_bge_m3_vectors(client: TestClient, device: str, tmp_path: Path, ask_oracle: Any, assert_agree: Any) -> None:
    write_hub_pickles(BGE_M3, tmp_path / "hub")
    reference = ask_oracle("bge_m3.py", {"path": str(tmp_path / "hub"), "texts": MIXED, "device": device})
    body = {"items": MIXED, "model": "bge-m3-starter", "return_colbert": True, "sparse_keys": "id"}
    ours = ask(client, "/vectorize-batch-hybrid", **body)["hybrid_vectors"]
    assert_agree("bge-m3-starter dense / FlagEmbedding", [vector["dense"] for vector in ours], reference["dense"])
    rows = np.concatenate([np.array(vector["colbert"]) for vector in ours])
    expected = np.concatenate([reference[f"colbert.{i}"] for i in range(len(MIXED))])
    assert_agree("bge-m3-starter ColBERT / FlagEmbedding", rows, expected)
    for i, vector in enumerate(ours):
        ids, weights = reference[f"lexical.{i}.ids"], reference[f"lexical.{i}.weights"]
        assert vector["sparse"].keys() == set(map(str, ids)), MIXED[i][:40]
        np.testing.assert_allclose([vector["sparse"][str(token_id)] for token_id in ids], weights, atol=1e-5)
