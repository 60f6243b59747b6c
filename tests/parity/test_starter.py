"""The trained starter checkpoints through HTTP, as they are, against the reference libraries of their families."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from starlette.testclient import TestClient

from app.engine.config import ModelConfig, read_models_file
from app.settings import REPO
from tests.hub_pickles import write_hub_pickles
from tests.parity.support import serve
from tests.parity.texts import LONG, MIXED
from tests.pictures import b64

pytestmark = pytest.mark.parity

MODELS_DIR = REPO / "models"
MODELS = [model for model in read_models_file(REPO / "starter.toml") if model.trained]
VISUAL_FAMILIES = ("colqwen2.5", "colqwen2", "colpali")
TEXTS = [*MIXED, LONG]
QUERIES = ["winter on the west coast", "Which page shows a red circle?"]
PAGE = REPO / "examples/page.png"
PICTURE_SIZE = (336, 448)
"""Height and width: whole patches."""

Oracle = Callable[[str, dict[str, Any]], dict[str, np.ndarray]]
Check = Callable[[str, Any, Any], None]


@pytest.fixture(scope="module")
def client(device: str) -> Iterator[TestClient]:
    with serve(MODELS_DIR, device, REPO / "starter.toml") as client:
        yield client


def models_of(*families: str) -> list[Any]:
    return [pytest.param(model, id=model.name) for model in MODELS if model.family in families]


def post(client: TestClient, path: str, **request: Any) -> Any:
    return client.post(path, **request).raise_for_status().json()


@pytest.mark.parametrize("model", models_of("e5"))
def test_e5(client: TestClient, model: ModelConfig, device: str, assert_agree: Check) -> None:
    folder = str(MODELS_DIR / model.checkpoint)
    reference = SentenceTransformer(folder, device=device, model_kwargs={"dtype": torch.float32})
    body = {"items": TEXTS, "model": model.name, "is_query": True}
    ours = post(client, "/vectorize-batch", json=body)["vectors"]
    assert_agree(f"{model.name} / sentence-transformers", ours, reference.encode([f"query: {t}" for t in TEXTS]))


@pytest.mark.parametrize("model", models_of("bge-m3"))
def test_bge_m3(
    client: TestClient, model: ModelConfig, device: str, ask_oracle: Oracle, assert_agree: Check, tmp_path: Path
) -> None:
    write_hub_pickles(MODELS_DIR / model.checkpoint, tmp_path / "hub")
    reference = ask_oracle("bge_m3.py", {"path": str(tmp_path / "hub"), "texts": TEXTS, "device": device})
    body = {"items": TEXTS, "model": model.name, "return_colbert": True, "sparse_keys": "id"}
    ours = post(client, "/vectorize-batch-hybrid", json=body)["hybrid_vectors"]
    assert_agree(f"{model.name} dense / FlagEmbedding", [vector["dense"] for vector in ours], reference["dense"])
    colbert = np.concatenate([reference[f"colbert.{i}"] for i in range(len(TEXTS))])
    assert_agree(
        f"{model.name} ColBERT / FlagEmbedding", [row for vector in ours for row in vector["colbert"]], colbert
    )
    for i, vector in enumerate(ours):
        weights = [vector["sparse"][str(token_id)] for token_id in reference[f"lexical.{i}.ids"]]
        np.testing.assert_allclose(weights, reference[f"lexical.{i}.weights"], atol=1e-4)


@pytest.mark.parametrize("model", models_of("dinov3"))
def test_dinov3(
    client: TestClient, model: ModelConfig, device: str, ask_oracle: Oracle, assert_agree: Check, tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    Image.open(REPO / "examples/picture.png").convert("RGB").save(picture)
    request = {"path": str(MODELS_DIR / model.checkpoint), "images": [str(picture)], "sizes": [PICTURE_SIZE]}
    reference = ask_oracle("dinov3.py", {**request, "device": device})
    body = {"image_data": b64(picture.read_bytes()), "embedding_types": ["cls_token", "patch_features"]}
    ours = post(client, "/predict", json={**body, "model": model.name})
    patches = ours["patch_features"]
    assert_agree(f"{model.name} CLS / transformers", ours["cls_token"], reference["cls.0"])
    assert_agree(f"{model.name} patches / transformers", patches, reference["tokens.0"][-len(patches) :])


@pytest.mark.parametrize("model", models_of(*VISUAL_FAMILIES))
def test_visual(client: TestClient, model: ModelConfig, device: str, ask_oracle: Oracle, assert_agree: Check) -> None:
    request = {
        "models_dir": str(MODELS_DIR),
        "checkpoints": {"it": (model.family, model.checkpoint)},
        "images": [str(PAGE)],
        "queries": QUERIES,
        "device": device,
    }
    reference = ask_oracle("visual.py", request)
    files = {"files": PAGE.read_bytes()}
    (page,) = post(client, "/embed/images", params={"model": model.name}, files=files)["embeddings"]
    assert_agree(f"{model.name} page / colpali-engine", page["embedding"], reference["it/image.0.vectors"])
    queries = post(client, "/embed/queries", json={"queries": QUERIES, "model": model.name})["embeddings"]
    expected = np.concatenate([reference[f"it/query.{i}.vectors"] for i in range(len(QUERIES))])
    assert_agree(f"{model.name} queries / colpali-engine", [row for rows in queries for row in rows], expected)
