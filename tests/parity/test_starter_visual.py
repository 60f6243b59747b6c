"""The trained visual starters through HTTP against colpali-engine on the same files."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.engine.config import ModelConfig, read_models_file
from app.settings import REPO
from tests.parity.support import serve

pytestmark = pytest.mark.parity

MODELS_DIR = REPO / "models"
FAMILIES = ("colqwen2.5", "colqwen2", "colpali")
MODELS = [model for model in read_models_file(REPO / "starter.toml") if model.trained and model.family in FAMILIES]
QUERIES = ["winter on the west coast", "Which page shows a red circle?"]
PAGE = REPO / "examples/page.png"


@pytest.fixture(scope="module")
def client(device: str) -> Iterator[TestClient]:
    with serve(MODELS_DIR, device, REPO / "starter.toml") as client:
        yield client


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_vectors_are_those_of_colpali_engine(
    client: TestClient,
    model: ModelConfig,
    device: str,
    ask_oracle: Callable[..., dict[str, np.ndarray]],
    assert_agree: Callable[..., None],
) -> None:
    checkpoints = {"it": (model.family, model.checkpoint)}
    request = {"models_dir": str(MODELS_DIR), "checkpoints": checkpoints, "images": [str(PAGE)], "queries": QUERIES}
    reference = ask_oracle("visual.py", request | {"device": device})
    files = {"files": PAGE.read_bytes()}
    (page,) = post(client, "/embed/images", params={"model": model.name}, files=files)
    assert_agree(f"{model.name} page / colpali-engine", page["embedding"], reference["it/image.0.vectors"])
    queries = post(client, "/embed/queries", json={"queries": QUERIES, "model": model.name})
    expected = np.concatenate([reference[f"it/query.{i}.vectors"] for i in range(len(QUERIES))])
    assert_agree(f"{model.name} queries / colpali-engine", [row for rows in queries for row in rows], expected)


def post(client: TestClient, path: str, **request: Any) -> Any:
    return client.post(path, **request).raise_for_status().json()["embeddings"]
