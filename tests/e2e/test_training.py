"""A real server trains real models: killed in the middle, resumed, served, and held against the reference library."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from tests.e2e.conftest import REPO, Server, running_server

pytestmark = pytest.mark.e2e

PAIRS = (REPO / "examples" / "nicknames.tsv").read_text(encoding="utf-8")
QUERY, ANSWER = "who can help me with the heron", "Ask Ines in the workshop about the invoice archive."
BODY = {"text_content": PAIRS, "epochs": 20, "learning_rate": 0.001}
TRAIN_TIMEOUT_S = 240


@pytest.fixture(scope="module")
def settings(starter_models: Path) -> dict[str, str]:
    return {"MODELS_FILE": str(REPO / "starter.toml"), "MODELS_DIR": str(starter_models), "TRAINING": "true"}


@pytest.fixture(scope="module")
def trainer(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server"), **settings) as server:
        yield server


def ended(http: httpx.Client, job_id: str) -> dict[str, Any]:
    """The job when it has ended, by its events."""
    with http.stream("GET", f"/train-status/{job_id}/events", timeout=TRAIN_TIMEOUT_S) as events:
        data = [json.loads(line.removeprefix("data:")) for line in events.iter_lines() if line.startswith("data:")]
    job: dict[str, Any] = data[-1]
    assert job["status"] not in ("pending", "running"), job
    return job


def best(http: httpx.Client, model: str) -> str:
    """The passage that the model finds nearest to the query."""
    passages = sorted({line.split("\t")[1] for line in PAIRS.splitlines()})
    query = http.post("/vectorize", json={"text": QUERY, "model": model}).json()["vector"]
    vectors = http.post("/vectorize-batch", json={"items": passages, "model": model}).json()["vectors"]
    return passages[int(np.argmax(np.array(vectors) @ query))]


def test_a_model_learns_and_is_served_as_the_reference_computes_it(trainer: Server, settings: dict[str, str]) -> None:
    with trainer.client() as http:
        assert best(http, "e5-starter") != ANSWER
        job = ended(http, http.post("/fine-tune", json=BODY | {"model_name": "full"}).json()["job_id"])
        assert job["status"] == "completed", job
        assert job["figures"]["after"]["recall@1"] > job["figures"]["before"]["recall@1"] + 0.5
        assert best(http, "full") == ANSWER
        vector = http.post("/vectorize", json={"text": QUERY, "model": "full"}).json()["vector"]
    reference = SentenceTransformer(str(Path(settings["MODELS_DIR"]) / "full"), device="cpu")
    wanted = reference.encode(f"query: {QUERY}", normalize_embeddings=True)
    assert float(np.dot(vector, wanted)) > 0.99999


def test_bge_m3_keeps_its_heads_and_reranks(trainer: Server) -> None:
    body = BODY | {"base_model": "bge-m3-starter", "model_name": "hybrid", "use_qlora": False, "epochs": 15}
    with trainer.client() as http:
        job = ended(http, http.post("/fine-tune-lora", json=body).json()["job_id"])
        assert job["status"] == "completed", job
        hybrid = http.post("/vectorize-hybrid", json={"text": QUERY, "model": "hybrid", "return_colbert": True})
        assert hybrid.json()["hybrid_vector"]["sparse"]
        scores = http.post("/rerank", json={"query": QUERY, "candidates": [ANSWER, "no"], "model": "hybrid"})
        assert len(scores.json()["scores"]) == 2


def test_a_killed_server_loses_nothing(tmp_path: Path, settings: dict[str, str], trainer: Server) -> None:
    with trainer.client() as http:
        unbroken = ended(http, http.post("/fine-tune", json=BODY | {"model_name": "unbroken"}).json()["job_id"])
    own = {"MODELS_DIR": str(tmp_path), "MODELS_FILE": str(_absolute_models(tmp_path, settings)), "TRAINING": "true"}
    with running_server(tmp_path, **own) as server:
        with server.client() as http:
            job_id = http.post("/fine-tune", json=BODY | {"model_name": "broken"}).json()["job_id"]
            while http.get(f"/train-status/{job_id}").json()["steps"] < 10:
                time.sleep(0.05)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with running_server(tmp_path, **own) as server, server.client() as http:
        assert http.get(f"/train-status/{job_id}").json()["status"] == "interrupted"
        assert "broken" not in [model["id"] for model in http.get("/v1/models").json()["data"]]
        http.post(f"/training-jobs/{job_id}/resume")
        job = ended(http, job_id)
        assert job["status"] == "completed", job
        assert job["figures"]["after"] == pytest.approx(unbroken["figures"]["after"], rel=1e-3)
        assert best(http, "broken") == ANSWER


def _absolute_models(folder: Path, settings: dict[str, str]) -> Path:
    """A models file with the E5 starter where it lies."""
    file = folder / "models.toml"
    checkpoint = Path(settings["MODELS_DIR"]) / "starter" / "e5-starter"
    file.write_text(f'[[model]]\nname = "e5-starter"\nfamily = "e5"\ncheckpoint = "{checkpoint}"\n')
    return file


def test_sigterm_ends_a_job_and_the_stream_of_its_events(tmp_path: Path, settings: dict[str, str]) -> None:
    own = {"MODELS_DIR": str(tmp_path), "MODELS_FILE": str(_absolute_models(tmp_path, settings)), "TRAINING": "true"}
    with running_server(tmp_path, **own) as server, server.client() as http:
        job_id = http.post("/fine-tune", json=BODY | {"model_name": "long", "epochs": 500}).json()["job_id"]
        with http.stream("GET", f"/train-status/{job_id}/events", timeout=TRAIN_TIMEOUT_S) as events:
            lines = (line for line in events.iter_lines() if line.startswith("data:"))
            assert json.loads(next(lines).removeprefix("data:"))["status"] in ("pending", "running")
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            last = json.loads([*lines][-1].removeprefix("data:"))
        server.assert_clean_exit()
        assert last["status"] == "interrupted"
        assert time.monotonic() - began < 15
