"""A Python client generated from openapi.json calls every operation of a running server."""

import importlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.e2e.conftest import REPO, Server, running_server
from tests.pdfs import pdf
from tests.pictures import b64, png

pytestmark = pytest.mark.e2e

CONFIG = """
content_type_overrides:
  image/png: application/octet-stream
  application/zip: application/octet-stream
  text/event-stream: text/plain
  application/x-ndjson: text/plain
"""
PAGE = png(200, 100, "white", {(100, 0, 150, 50): "red"})


class GeneratedClient:
    """Calls operations by id and remembers which."""

    def __init__(self, package: ModuleType, url: str) -> None:
        self.package = package
        self.called: set[str] = set()
        client_module = self.module("client")
        self._keyed = client_module.AuthenticatedClient(base_url=url, token="any", timeout=120)  # noqa: S106
        self._open = client_module.Client(base_url=url, timeout=120)

    def module(self, name: str) -> Any:
        return importlib.import_module(f"{self.package.__name__}.{name}")

    def model(self, name: str, content: dict[str, Any]) -> Any:
        """A body, from plain JSON."""
        return getattr(self.module("models"), name).from_dict(content)

    def call(self, tag: str, operation: str, *path: str, **arguments: Any) -> Any:
        """The parsed answer; fails unless it is a good one."""
        self.called.add(operation)
        client = self._open if tag == "server" else self._keyed
        answer = self.module(f"api.{tag}.{operation}").sync_detailed(*path, client=client, **arguments)
        assert answer.status_code == 200, answer.content
        assert answer.parsed is not None
        return answer.parsed

    def page(self) -> Any:
        return self.module("types").File(io.BytesIO(PAGE), "page.png", "image/png")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that trains, in a models folder of its own."""
    models_dir = str(tmp_path_factory.mktemp("models"))
    with running_server(tmp_path_factory.mktemp("server"), MODELS_DIR=models_dir, TRAINING="true") as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GeneratedClient]:
    folder = tmp_path_factory.mktemp("client")
    (folder / "config.yml").write_text(CONFIG)
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("openapi-python-client")), "generate", "--meta", "none"),
            *("--path", str(REPO / "openapi.json"), "--output-path", str(folder / "manyvec_client")),
            *("--config", str(folder / "config.yml")),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING parsing" not in done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    try:
        yield GeneratedClient(importlib.import_module("manyvec_client"), server.url)
    finally:
        sys.path.remove(str(folder))


def test_server(client: GeneratedClient) -> None:
    assert client.call("server", "welcome").version
    assert client.call("server", "health").status == "healthy"
    assert client.call("server", "ready").status == "ready"
    assert "manyvec_requests_total" in client.call("server", "metrics")


def test_models(client: GeneratedClient) -> None:
    names = [model.id for model in client.call("models", "list_models").data]
    assert client.call("models", "load_model", names[0]).state == "ready"
    assert client.call("models", "info").dim == 128
    assert client.call("models", "unload_model", names[0]).state == "unloaded"


def test_visual_documents(client: GeneratedClient) -> None:
    sizes = client.model("PatchesRequest", {"dimensions": [{"width": 1024, "height": 768}]})
    (grid,) = client.call("visual_documents", "count_patches", body=sizes).results
    assert (grid.n_patches_x, grid.n_patches_y) == (32, 24)
    queries = client.model("EmbedQueriesRequest", {"queries": "red square"})
    (rows,) = client.call("visual_documents", "embed_queries", body=queries).embeddings
    assert len(rows[0]) == 128
    files = client.module("models").BodyEmbedImages(files=[client.page(), client.page()])
    first, second = client.call("visual_documents", "embed_images", body=files).embeddings
    assert first.image_patch_len == first.n_patches_x * first.n_patches_y
    assert first.embedding == second.embedding
    document = client.module("types").File(io.BytesIO(pdf("red", "blue")), "report.pdf", "application/pdf")
    files = client.module("models").BodyEmbedImages(files=[client.page(), document])
    places = [(one.file, one.page) for one in client.call("visual_documents", "embed_images", body=files).embeddings]
    assert places[1:] == [(1, 1), (1, 2)]


def test_pages(client: GeneratedClient) -> None:
    document = client.module("types").File(io.BytesIO(pdf("red", "blue")), "report.pdf", "application/pdf")
    lines = client.call("pages", "draw_pages", body=client.module("models").BodyDrawPages(file=document), max_side=50)
    assert [(line["page"], line["width"]) for line in map(json.loads, lines.splitlines())] == [(1, 50), (2, 50)]


def test_similarity(client: GeneratedClient) -> None:
    models = client.module("models")
    answer = client.call("similarity", "interpret", body=models.BodyInterpret(file=client.page(), query="red square"))
    assert (answer.image_width, answer.image_height) == (200, 100)
    assert len(answer.similarity_maps[0].similarity_map) == answer.n_patches_x
    answer = client.call("similarity", "query_single", body=models.BodyQuerySingle(file=client.page(), query="red"))
    assert set(answer.tokens.additional_properties) == set(answer.token_list)
    heatmaps = client.call(
        "similarity", "query_single_heatmap", body=models.BodyQuerySingleHeatmap(file=client.page(), query="red")
    )
    assert zipfile.ZipFile(io.BytesIO(heatmaps.payload.read())).namelist()[0] == "heatmap_0.png"


def test_text(client: GeneratedClient) -> None:
    vector = client.call("text", "vectorize", body=client.model("VectorizeRequest", {"text": "hello"})).vector
    batch = client.model("VectorizeBatchRequest", {"items": ["hello", "world"], "is_query": True})
    assert client.call("text", "vectorize_batch", body=batch).vectors[0] == pytest.approx(vector, abs=1e-5)
    keyed = client.model("VectorizeBatchRequest", {"items": {"a": "hello"}})
    assert "a" in client.call("text", "vectorize_batch", body=keyed).vectors.additional_properties
    hybrid = client.model("VectorizeHybridRequest", {"text": "hello", "return_colbert": True})
    answer = client.call("text", "vectorize_hybrid", body=hybrid).hybrid_vector
    assert answer.dense
    assert answer.colbert
    both = client.model("VectorizeBatchHybridRequest", {"items": ["hello", "world"]})
    assert len(client.call("text", "vectorize_batch_hybrid", body=both).hybrid_vectors) == 2
    rerank = client.model("RerankRequest", {"query": "hello", "candidates": ["hello", "world"]})
    assert len(client.call("text", "rerank", body=rerank).scores) == 2


@pytest.mark.parametrize("operation", ["predict", "predict_at_root"])
def test_predict(client: GeneratedClient, operation: str) -> None:
    scored = client.model("EndpointRequest", {"inputs": [], "image": [b64(PAGE)], "text": ["red", "blue"]})
    answer = client.call("predict", operation, body=scored)
    assert [len(row) for row in answer.scores] == [1, 1]
    features = client.model("ImageFeaturesRequest", {"image_data": b64(PAGE), "embedding_types": ["cls_token"]})
    assert client.call("predict", operation, body=features).cls_token


def test_training(client: GeneratedClient) -> None:
    pairs = {"text_content": "red\trouge\nblue\tbleu\n", "epochs": 1}
    job = client.call("training", "fine_tune", body=client.model("FineTuneRequest", pairs | {"model_name": "full"}))
    lora = client.model("FineTuneLoraRequest", pairs | {"model_name": "lora", "use_qlora": False})
    second = client.call("training", "fine_tune_lora", body=lora)
    lines = "".join(json.dumps({"query": name, "image": b64(png(30, 30, name))}) + "\n" for name in ("red", "blue"))
    dataset = client.module("types").File(io.BytesIO(lines.encode()), "pairs.jsonl", "application/jsonl")
    form = client.module("models").FineTuneVisualForm(dataset=dataset, model_name="pages")
    third = client.call("training", "fine_tune_visual", body=form)
    assert client.call("training", "cancel_training_job", third.job_id).status == "cancelled"
    assert client.call("training", "resume_training_job", third.job_id).status in ("pending", "running")
    client.call("training", "cancel_training_job", third.job_id)
    events = client.call("training", "train_status_events", job.job_id)
    assert '"status":"completed"' in events
    assert client.call("training", "train_status", job.job_id).progress == 100
    assert client.call("training", "get_training_job", job.job_id).n_pairs == 2
    client.call("training", "get_training_log", job.job_id)
    client.call("training", "train_status_events", second.job_id)
    assert len(client.call("training", "list_training_jobs").data) == 3
    assert client.call("training", "delete_training_dataset", job.job_id).dataset_deleted
    assert client.call("training", "delete_model", "full").deleted
    assert client.call("training", "delete_training_job", job.job_id).deleted


def test_every_operation_was_called(client: GeneratedClient) -> None:
    """Runs last in this module."""
    document = json.loads((REPO / "openapi.json").read_text(encoding="utf-8"))
    operations = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    assert client.called == operations
