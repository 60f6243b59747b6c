"""The OpenAPI document: in step with the code, and good for generated clients and for trying out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import generate_openapi
from tests.api.conftest import Serve

DOCUMENT: dict[str, Any] = json.loads(generate_openapi.openapi_document())
OPERATIONS = {
    (method, path): operation for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
}


def test_openapi_json_is_in_step() -> None:
    written = generate_openapi.TARGET.read_text(encoding="utf-8")
    assert written == generate_openapi.openapi_document(), "run `make openapi`"


def test_writing_it_imports_no_model_code() -> None:
    code = (
        "import sys, generate_openapi; generate_openapi.openapi_document(); "
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(generate_openapi.__file__).parent, capture_output=True, text=True
    )
    assert done.stdout.strip() == "set()", done.stderr


def test_operation_ids_are_readable_and_stable() -> None:
    ids = {operation["operationId"] for operation in OPERATIONS.values()}
    assert ids == {
        *("welcome", "health", "ready", "metrics", "info", "list_models", "load_model", "unload_model"),
        *("count_patches", "embed_queries", "embed_images", "interpret", "draw_pages"),
        *("vectorize", "vectorize_batch", "vectorize_hybrid", "vectorize_batch_hybrid", "rerank"),
        *("predict", "predict_at_root", "query_single", "query_single_heatmap"),
        *("fine_tune", "fine_tune_lora", "fine_tune_visual", "train_status", "train_status_events"),
        *("list_training_jobs", "get_training_job", "get_training_log", "cancel_training_job", "resume_training_job"),
        *("delete_training_job", "delete_training_dataset", "delete_model"),
    }


def test_every_operation_is_described() -> None:
    for place, operation in OPERATIONS.items():
        assert operation["tags"], place
        assert operation["summary"], place


def test_no_schema_is_left_over() -> None:
    text = json.dumps(DOCUMENT)
    for name in DOCUMENT["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text, name


def test_files_are_binary_for_generators() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["Body_embed_images"]["properties"]["files"]["items"] == {"type": "string", "format": "binary"}
    assert schemas["Body_interpret"]["properties"]["file"]["format"] == "binary"


def examples() -> list[tuple[str, Any]]:
    found = []
    for (_, path), operation in OPERATIONS.items():
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body is None:
            continue
        reference = body["schema"].get("$ref", "").rpartition("/")[2]
        values = DOCUMENT["components"]["schemas"][reference]["examples"] if reference else []
        values += [example["value"] for example in body.get("examples", {}).values()]
        assert values, f"{path} has no example"
        found += [(path, value) for value in values]
    return found


@pytest.mark.parametrize(("path", "body"), examples())
async def test_examples_work_as_they_are(serving: Serve, tmp_path: Path, path: str, body: Any) -> None:
    async with serving(models_dir=tmp_path, training=True) as client:
        answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
