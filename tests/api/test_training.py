"""Fine-tuning over HTTP, with a trainer that only pretends."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any, cast

import httpx
import pytest
from PIL import Image

from app.api.training import _events
from app.training.jobs import Dataset, Job, JobNotFoundError
from app.training.options import Method, TrainingOptions
from app.training.service import Training
from app.training.store import JobStore
from tests.api.conftest import Serve

PAIRS = "a\tb\nc\td\nno pair\n"
STATUS_KEYS = {"status", "progress", "message", "error", "steps", "epoch"}


@pytest.fixture
async def http(serving: Serve, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(training=True, models_dir=tmp_path) as client:
        yield client


async def start(http: httpx.AsyncClient, route: str = "/fine-tune", headers: Any = None, **body: Any) -> httpx.Response:
    body = {"text_content": PAIRS, "model_name": "mine"} | body
    return await http.post(route, json=body, headers=headers)


async def ended(http: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    while True:
        status: dict[str, Any] = (await http.get(f"/train-status/{job_id}")).json()
        if status["status"] not in ("pending", "running"):
            return status
        await asyncio.sleep(0.02)


async def running(http: httpx.AsyncClient) -> str:
    """Id of a job that runs until it is stopped."""
    job_id: str = (await start(http, text_content="wait\tb\nc\td\n", model_name="long")).json()["job_id"]
    while (await http.get(f"/train-status/{job_id}")).json()["steps"] == 0:  # noqa: ASYNC110 - another process counts
        await asyncio.sleep(0.02)
    return job_id


async def test_a_job_is_started_followed_and_served(http: httpx.AsyncClient) -> None:
    answer = await start(http)
    assert answer.status_code == 200
    assert answer.json() == {"job_id": answer.json()["job_id"], "status": "pending"}
    status = await ended(http, answer.json()["job_id"])
    assert set(status) == STATUS_KEYS
    assert (status["status"], status["progress"], status["steps"], status["error"]) == ("completed", 100, 5, None)
    assert "no pairs, and were ignored: 1." in status["message"]
    models = {model["id"]: model for model in (await http.get("/v1/models")).json()["data"]}
    base = (await http.get("/training-jobs")).json()["data"][0]["base_model"]
    assert (models["mine"]["base_model"], models["mine"]["trained"]) == (base, True)
    assert models[base]["base_model"] is None
    vector = await http.post("/vectorize", json={"text": "x", "model": "mine"})
    assert vector.status_code == 200


async def test_a_fresh_server_serves_what_was_trained(serving: Serve, tmp_path: Path) -> None:
    async with serving(training=True, models_dir=tmp_path) as http:
        await ended(http, (await start(http)).json()["job_id"])
    async with serving(training=True, models_dir=tmp_path) as http:
        assert (await http.post("/vectorize", json={"text": "x", "model": "mine"})).status_code == 200


async def test_lora_says_its_type(http: httpx.AsyncClient) -> None:
    answer = await start(http, "/fine-tune-lora", use_qlora=False, r=4)
    assert answer.json() == {"job_id": answer.json()["job_id"], "status": "pending", "type": "lora"}
    (job,) = (await http.get("/training-jobs")).json()["data"]
    assert job["method"] == "lora"


async def test_q_lora_on_a_cpu_is_400_with_a_way_out(serving: Serve, tmp_path: Path) -> None:
    async with serving(training=True, models_dir=tmp_path, device="cpu") as http:
        answer = await start(http, "/fine-tune-lora")
    assert answer.status_code == 400
    assert "`use_qlora: false`" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"text_content": "no pair"}, 400, "no training pair"),
        ({"model_name": "../x"}, 400, "model_name is"),
        ({"model_name": "e5-starter"}, 400, "served as e5-starter already"),
        ({"base_model": "nope"}, 404, "No such model"),
        ({"base_model": "dinov3-starter"}, 400, "Models that can"),
        ({"epochs": 0}, 422, "epochs"),
        ({"learning_rate": 2}, 422, "learning_rate"),
        ({"epoch": 1}, 422, "epoch: There is no such field; epochs may be meant."),
        ({"batch-size": 8}, 422, "unknown_field: There is no such field; batch_size may be meant."),
        ({"r": 8}, 422, "r: There is no such field, it is one of /fine-tune-lora."),
        ({"whatever": 8}, 422, "whatever: There is no such field."),
        ({"text_content": "a\tb\n"}, 400, "two different queries and two different passages"),
        ({"text_content": "a\tb\na\tc\n"}, 400, "two different queries and two different passages"),
        ({"text_content": "a\tb\n" * 11}, 413, "At most 10"),
    ],
)
async def test_bad_requests_say_what_to_change(
    serving: Serve, tmp_path: Path, change: dict[str, Any], status: int, says: str
) -> None:
    starter = Path(__file__).parents[2] / "starter.toml"
    async with serving(training=True, models_dir=tmp_path, models_file=starter, max_training_pairs=10) as http:
        answer = await start(http, **change)
        assert answer.status_code == status, answer.text
        assert says in answer.json()["detail"]
        assert (await http.get("/training-jobs")).json()["data"] == []


@pytest.mark.parametrize(
    "route", ["/train-status/x", "/train-status/x/events", "/training-jobs/x", "/training-jobs/x/log"]
)
async def test_an_unknown_job_is_404(http: httpx.AsyncClient, route: str) -> None:
    answer = await http.get(route)
    assert answer.status_code == 404
    assert "training job" in answer.json()["detail"]


async def test_events_end_with_the_job(http: httpx.AsyncClient) -> None:
    job_id = (await start(http)).json()["job_id"]
    answer = await http.get(f"/train-status/{job_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data:")) for line in answer.text.splitlines() if line.startswith("data:")]
    assert events[-1]["status"] == "completed"
    assert events[-1]["figures"]["after"] == {"recall@1": 0.9}


async def test_cancel_resume_and_log(http: httpx.AsyncClient) -> None:
    job_id = await running(http)
    cancelled = await http.post(f"/training-jobs/{job_id}/cancel")
    assert cancelled.json()["status"] == "cancelled"
    assert (await http.post(f"/training-jobs/{job_id}/cancel")).status_code == 400
    log = await http.get(f"/training-jobs/{job_id}/log")
    assert log.text == "learning long\n"
    resumed = await http.post(f"/training-jobs/{job_id}/resume")
    assert resumed.json()["status"] in ("pending", "running")
    await http.post(f"/training-jobs/{job_id}/cancel")


async def test_events_of_a_job_that_is_deleted_end() -> None:
    class Deleted:
        stopped = False

        def job(self, job_id: str) -> Job:
            raise JobNotFoundError("gone")

    job = Job("1", "mine", "e5", "e5-starter", Method.FULL, TrainingOptions(), Dataset(3, 0, "00"))
    events = [event async for event in _events(job, cast(Training, Deleted()))]
    assert len(events) == 1


async def test_a_repeated_request_starts_no_second_job(http: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = [await start(http, headers=headers) for _ in range(2)]
    assert first.json()["job_id"] == second.json()["job_id"]
    other = await start(http, headers=headers, model_name="other")
    assert other.status_code == 400
    assert len((await http.get("/training-jobs")).json()["data"]) == 1


async def test_models_and_jobs_are_deleted(http: httpx.AsyncClient) -> None:
    job_id = (await start(http)).json()["job_id"]
    await ended(http, job_id)
    assert (await http.delete(f"/training-jobs/{job_id}/dataset")).json()["dataset_deleted"]
    assert (await http.delete("/models/mine")).json() == {"id": "mine", "deleted": True}
    assert (await http.post("/vectorize", json={"text": "x", "model": "mine"})).status_code == 404
    assert (await http.delete("/models/mine")).status_code == 404
    assert (await http.delete(f"/training-jobs/{job_id}")).json() == {"id": job_id, "deleted": True}
    assert (await http.get(f"/train-status/{job_id}")).status_code == 404


async def test_serving_answers_while_a_job_runs(http: httpx.AsyncClient) -> None:
    await running(http)
    assert (await http.post("/vectorize", json={"text": "x"})).status_code == 200


async def test_training_needs_the_key_and_can_be_switched_off(serving: Serve, tmp_path: Path) -> None:
    async with serving(training=True, models_dir=tmp_path, api_key="k") as http:
        assert (await start(http)).status_code == 401
        assert (await http.get("/training-jobs")).status_code == 401
    async with serving(models_dir=tmp_path, training=False) as http:
        answer = await start(http)
        assert answer.status_code == 400
        assert "switched off" in answer.json()["detail"]


async def test_a_second_server_on_the_folder_serves_but_does_not_train(serving: Serve, tmp_path: Path) -> None:
    async with serving(training=True, models_dir=tmp_path), serving(training=True, models_dir=tmp_path) as second:
        answer = await start(second)
        assert answer.status_code == 503
        assert "Another process fine-tunes in this models folder" in answer.json()["detail"]
        assert (await second.post("/vectorize", json={"text": "x"})).status_code == 200


def picture(color: str) -> str:
    file = BytesIO()
    Image.new("RGB", (32, 32), color).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


async def test_pages_are_trained_from_json_lines(http: httpx.AsyncClient) -> None:
    lines = "".join(json.dumps({"query": name, "image": picture(name)}) + "\n" for name in ("red", "blue"))
    answer = await http.post(
        "/fine-tune-visual", data={"model_name": "pages", "r": "4"}, files={"dataset": ("pairs.jsonl", lines.encode())}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["type"] == "lora"
    assert (await ended(http, answer.json()["job_id"]))["status"] == "completed"
    job = (await http.get(f"/training-jobs/{answer.json()['job_id']}")).json()
    assert (job["n_pairs"], job["method"], job["family"]) == (2, "lora", "colqwen2.5")


async def test_a_broken_page_file_names_the_line(http: httpx.AsyncClient) -> None:
    lines = json.dumps({"query": "red", "image": picture("red")}) + "\n" + '{"query": "", "image": "x"}\n'
    answer = await http.post(
        "/fine-tune-visual", data={"model_name": "pages"}, files={"dataset": ("pairs.jsonl", lines.encode())}
    )
    assert answer.status_code == 400
    assert "Line 2" in answer.json()["detail"]


async def test_an_unknown_field_of_the_form_is_named(http: httpx.AsyncClient) -> None:
    lines = "".join(json.dumps({"query": name, "image": picture(name)}) + "\n" for name in ("red", "blue"))
    answer = await http.post(
        "/fine-tune-visual",
        data={"model_name": "pages", "epoch": "1"},
        files={"dataset": ("pairs.jsonl", lines.encode())},
    )
    assert answer.status_code == 422
    assert answer.json()["detail"] == "epoch: There is no such field; epochs may be meant."
    assert (await http.get("/training-jobs")).json()["data"] == []


async def test_too_few_pages_are_refused_at_once(http: httpx.AsyncClient) -> None:
    line = json.dumps({"query": "red", "image": picture("red")}) + "\n"
    answer = await http.post(
        "/fine-tune-visual", data={"model_name": "pages"}, files={"dataset": ("pairs.jsonl", line.encode())}
    )
    assert answer.status_code == 400
    assert "two different images" in answer.json()["detail"]


async def test_a_full_queue_says_when_to_come_again(serving: Serve, tmp_path: Path) -> None:
    async with serving(training=True, models_dir=tmp_path, max_pending_jobs=1) as http:
        first = await running(http)
        assert (await start(http, model_name="second")).status_code == 200
        answer = await start(http, model_name="third")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "60"
        assert "MAX_PENDING_JOBS" in answer.json()["detail"]
        await http.post(f"/training-jobs/{first}/cancel")


async def test_listeners_cost_no_threads_and_no_queries(serving: Serve, tmp_path: Path, monkeypatch: Any) -> None:
    """Many people may look at a job for hours: they are told from memory."""
    monkeypatch.setattr("app.api.training.EVENT_INTERVAL_S", 0.01)
    async with serving(training=True, models_dir=tmp_path) as http:
        job_id = await running(http)
        (await start(http, model_name="waits")).raise_for_status()
        waits = (await http.get("/training-jobs")).json()["data"][1]["id"]
        threads: list[Thread] = []
        polls: list[str] = []
        genuine_start, genuine_get = Thread.start, JobStore.get
        monkeypatch.setattr(Thread, "start", lambda thread: [threads.append(thread), genuine_start(thread)])
        monkeypatch.setattr(JobStore, "get", lambda store, job: [polls.append(job), genuine_get(store, job)][1])
        transport: Any = http._transport
        with transport.app.state.training.training._store._writing:  # Whoever asks the disk now waits for ever.
            listening = [
                asyncio.create_task(http.get(f"/train-status/{name}/events"))
                for name in (job_id, waits)
                for _ in range(20)
            ]
            while len(polls) < 2000:  # noqa: ASYNC110 - the listeners count
                await asyncio.sleep(0.01)
        assert threads == []
        assert set(polls) == {job_id, waits}
        monkeypatch.undo()
        for name in (waits, job_id):
            await http.post(f"/training-jobs/{name}/cancel")
        for answer in await asyncio.gather(*listening):
            last = [line for line in answer.text.splitlines() if line.startswith("data:")][-1]
            assert json.loads(last.removeprefix("data:"))["status"] == "cancelled"
