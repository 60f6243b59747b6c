"""A real server on an NVIDIA GPU: every family answers from it, and a job trains on it beside the queries."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.e2e.conftest import REPO, Server, running_server
from tests.e2e.test_training import ended

pytestmark = [pytest.mark.e2e, pytest.mark.gpu]

MODELS = ("colqwen2.5", "colqwen2", "colpali", "e5", "bge-m3", "dinov3")
FLAT = ("e5-untrained", "bge-m3-untrained")
PICTURE = (REPO / "examples" / "lighthouse.png").read_bytes()
PAIRS = (REPO / "examples" / "nicknames.tsv").read_text(encoding="utf-8")
MIN_COSINE = 0.98
"""Of bfloat16 there to float32 on the CPU, with untrained weights."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """By the device that they compute on; that on the GPU trains."""
    folder = tmp_path_factory.mktemp("models")
    models = {"MODELS_DIR": str(folder), "PRELOAD": "all"}
    with (
        running_server(tmp_path_factory.mktemp("cpu"), DEVICE="cpu", **models) as cpu,
        running_server(tmp_path_factory.mktemp("gpu"), DEVICE="cuda", TRAINING="true", **models) as gpu,
    ):
        yield {"cpu": cpu, "cuda": gpu}


def vectors(http: httpx.Client, model: str) -> np.ndarray:
    """Of what the family reads, as unit vectors [n, dim]."""
    if model in FLAT:
        answer = http.post("/vectorize-batch", json={"items": [PAIRS[:900], "a"], "model": model}).json()
        found = [answer["vectors"]] if "vectors" in answer else [[it["dense"] for it in answer["hybrid_vectors"]]]
    elif model == "dinov3-untrained":
        body = {"image_data": b64encode(PICTURE).decode(), "embedding_types": ["cls_token", "patch_features"]}
        answer = http.post("/predict", params={"model": model}, json=body).json()
        found = [answer["cls_token"], answer["patch_features"]]
    else:
        answer = http.post("/embed/images", params={"model": model}, files={"files": ("page.png", PICTURE)}).json()
        found = [image["embedding"] for image in answer["embeddings"]]
    stacked = np.concatenate([np.atleast_2d(np.array(rows, np.float32)) for rows in found])
    return stacked / np.linalg.norm(stacked, axis=-1, keepdims=True)


@pytest.mark.parametrize("family", MODELS)
def test_it_answers_as_on_a_cpu(servers: dict[str, Server], family: str) -> None:
    model = f"{family}-untrained"
    found = {}
    for device, server in servers.items():
        with server.client() as http:
            found[device] = vectors(http, model)
            info = http.get("/info", params={"model": model}).json()
        assert info["device"].startswith(device)
        print(model, info["device"], info["dtype"], info.get("attention"), info.get("backend"))
    cosines = (found["cpu"] * found["cuda"]).sum(-1)
    print(model, "least cosine", cosines.min())
    assert cosines.min() >= MIN_COSINE


@pytest.mark.parametrize("use_qlora", [False, True])
def test_it_trains_there_and_answers_meanwhile(servers: dict[str, Server], use_qlora: bool, tmp_path: Path) -> None:
    if use_qlora:
        pytest.importorskip("bitsandbytes")
    body = {
        "text_content": PAIRS,
        "epochs": 20,
        "learning_rate": 0.002,
        "base_model": "e5-untrained",
        "model_name": "nicknames",
        "use_qlora": use_qlora,
        "overwrite": True,
    }
    with servers["cuda"].client() as http:
        job_id = http.post("/fine-tune-lora", json=body).json()["job_id"]
        answered = 0
        while http.get(f"/train-status/{job_id}").json()["status"] in ("pending", "running"):
            assert http.post("/vectorize", json={"text": "a", "model": "e5-untrained"}).status_code == 200
            answered += 1
        job = ended(http, job_id)
        print(answered, json.dumps(job))
        assert job["status"] == "completed", http.get(f"/training-jobs/{job_id}/log").text
        assert answered > 10
        assert job["figures"]["after"]["loss"] < job["figures"]["before"]["loss"]
        assert http.get("/info", params={"model": "nicknames"}).json()["device"].startswith("cuda")
        assert http.post("/vectorize", json={"text": "a", "model": "nicknames"}).status_code == 200
