"""Jobs from their request to a served model, with a trainer that only pretends."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import BadInputError, ModelNotFoundError, QueueFullError, UnavailableError
from app.engine.config import ModelConfig
from app.families.base import Checkpoint
from app.training.jobs import Dataset, Job, JobNotFoundError, JobStateError, JobStatus
from app.training.options import LoraOptions, Method, TrainingOptions
from app.training.pairs import read_pairs, write_pairs
from app.training.service import Training
from tests.training_fakes import REQUEST, FakeServing, submit, until

Open = Callable[[], Training]
PAIRS = read_pairs("a\tb\nc\td\n", hard_negatives=False, max_pairs=9, max_chars=99)


def waiting(training: Training, **changes: object) -> Job:
    """A job that runs and does not end by itself, and has a checkpoint."""
    job = submit(training, "wait", **changes)
    until(training, job, JobStatus.RUNNING)
    deadline = time.monotonic() + 30
    while training.job(job.id).progress is None or "checkpoint" not in training.job(job.id).message:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return training.job(job.id)


def trainer_pids(models_dir: Path) -> list[int]:
    found = subprocess.run(["pgrep", "-f", str(models_dir)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split() if int(pid) != os.getpid()]


def test_a_finished_job_is_served(training: Training, serving: FakeServing, models_dir: Path) -> None:
    job = submit(training)
    assert job.status is JobStatus.PENDING
    done = until(training, job)
    assert done.status is JobStatus.COMPLETED
    assert done.percent == 100
    assert done.figures == {"before": {"recall@1": 0.1}, "after": {"recall@1": 0.9}}
    assert serving.models["mine"].checkpoint == "mine"
    assert serving.models["mine"].license == "MIT"
    record = json.loads((models_dir / "mine" / "training.json").read_text())
    assert record["job_id"] == job.id
    assert record["dataset_sha256"] == job.dataset.sha256
    assert "learning mine" in training.log(job.id)


def test_it_is_listed_again_after_a_restart(open_training: Open) -> None:
    training = open_training()
    until(training, submit(training))
    training.close()
    (config,) = open_training().published.configs()
    assert (config.name, config.family, config.base_model) == ("mine", "e5", "base")


def test_a_failure_has_the_trainers_reason(training: Training, serving: FakeServing) -> None:
    failed = until(training, submit(training, "fail"))
    assert failed.status is JobStatus.FAILED
    assert failed.error == "The loss is no number; lower the learning_rate."
    assert "mine" not in serving.models


def test_a_trainer_that_dies_leaves_an_interrupted_job_that_goes_on(training: Training) -> None:
    job = waiting(training)
    (pid,) = trainer_pids(training._folders.of(job.id))
    os.kill(pid, signal.SIGKILL)
    interrupted = until(training, job)
    assert interrupted.status is JobStatus.INTERRUPTED
    assert "SIGKILL" in interrupted.message
    # The next run begins behind the checkpoint, and so waits again.
    training.resume(job.id)
    assert until(training, job, JobStatus.RUNNING).status is JobStatus.RUNNING


def test_cancelling_stops_the_trainer(training: Training, models_dir: Path) -> None:
    job = waiting(training)
    assert trainer_pids(models_dir)
    began = time.monotonic()
    assert training.cancel(job.id).status is JobStatus.CANCELLED
    assert time.monotonic() - began < 5
    assert not trainer_pids(models_dir)
    with pytest.raises(JobStateError, match="cancelled already"):
        training.cancel(job.id)


def test_others_wait_with_their_place_in_the_queue(training: Training) -> None:
    running = waiting(training)
    second, third = (submit(training, model_name=name) for name in ("second", "third"))
    assert training.job(second.id).message == "Waiting for its turn; 1 before it."
    assert training.job(third.id).message == "Waiting for its turn; 2 before it."
    training.cancel(second.id)
    assert training.job(second.id).status is JobStatus.CANCELLED
    training.cancel(running.id)
    assert until(training, third).status is JobStatus.COMPLETED


def test_closing_interrupts_and_the_next_start_can_resume(open_training: Open, models_dir: Path) -> None:
    training = open_training()
    job = waiting(training)
    later = submit(training, model_name="later")
    training.close()
    assert not trainer_pids(models_dir)
    training = open_training()
    assert training.job(job.id).status is JobStatus.INTERRUPTED
    assert training.job(job.id).progress is not None
    # What was pending is not forgotten.
    assert until(training, later).status is JobStatus.COMPLETED


def test_a_second_process_is_refused(training: Training, open_training: Open) -> None:
    with pytest.raises(UnavailableError, match="Another process fine-tunes in this models folder"):
        open_training()


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "/etc", "A", ".hidden", "a..b", "x" * 65, "é", "a\n"])
def test_names_cannot_leave_the_models_folder(training: Training, name: str) -> None:
    with pytest.raises(BadInputError, match="model_name is"):
        submit(training, model_name=name)
    assert training.jobs() == []


def test_nothing_is_overwritten_unasked(training: Training, serving: FakeServing, models_dir: Path) -> None:
    (models_dir / "starter").mkdir()
    with pytest.raises(BadInputError, match="not trained here"):
        submit(training, model_name="starter", overwrite=True)
    with pytest.raises(BadInputError, match="served as base already"):
        submit(training, model_name="base")
    first = until(training, submit(training))
    with pytest.raises(BadInputError, match="called mine already"):
        submit(training)
    second = until(training, submit(training, overwrite=True))
    assert second.status is JobStatus.COMPLETED
    assert json.loads((models_dir / "mine" / "training.json").read_text())["job_id"] != first.id


def test_two_jobs_cannot_make_one_model(training: Training) -> None:
    waiting(training)
    with pytest.raises(BadInputError, match="waits or runs already"):
        submit(training, overwrite=True)


def test_a_key_starts_one_job_however_often_it_is_sent(training: Training) -> None:
    ids: set[str] = set()

    def send() -> None:
        ids.add(submit(training, idempotency_key="k", request_sha256="h").id)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == len(training.jobs()) == 1
    with pytest.raises(BadInputError, match="another request"):
        submit(training, idempotency_key="k", request_sha256="other")


def test_q_lora_on_a_cpu_says_what_to_use_instead(training: Training) -> None:
    with pytest.raises(BadInputError, match="use_qlora"):
        submit(training, method=Method.QLORA, lora=LoraOptions())


def test_heads_are_bge_m3s(training: Training) -> None:
    with pytest.raises(BadInputError, match="BGE-M3"):
        submit(training, options=TrainingOptions(train_heads=True))


def test_the_dataset_goes_on_request_and_then_nothing_resumes(training: Training) -> None:
    job = until(training, submit(training, "fail"))
    file = training._folders.of(job.id) / "dataset.jsonl"
    assert file.is_file()
    assert training.delete_dataset(job.id).dataset.deleted
    assert not file.exists()
    with pytest.raises(JobStateError, match="dataset was deleted"):
        training.resume(job.id)


def test_a_deleted_job_is_unknown_and_its_model_stays(training: Training, serving: FakeServing) -> None:
    job = until(training, submit(training))
    training.delete(job.id)
    assert not training._folders.of(job.id).exists()
    with pytest.raises(JobNotFoundError):
        training.job(job.id)
    assert "mine" in serving.models


def test_a_running_job_cannot_be_deleted(training: Training) -> None:
    job = waiting(training)
    with pytest.raises(JobStateError, match="cancel it first"):
        training.delete(job.id)


def test_a_deleted_model_leaves_service_and_disk(training: Training, serving: FakeServing, models_dir: Path) -> None:
    until(training, submit(training))
    training.delete_model("mine")
    assert "mine" not in serving.models
    assert not (models_dir / "mine").exists()
    for name in ("mine", "base", "../models"):
        with pytest.raises(ModelNotFoundError):
            training.delete_model(name)


@pytest.mark.parametrize(
    ("named", "base_name"), [("vidore/colqwen2.5-base", "vidore/colqwen2.5-base"), ("/home/me/e5/whole", "whole")]
)
def test_the_task_of_an_adapter_names_its_base(
    training: Training,
    serving: FakeServing,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    named: str,
    base_name: str,
) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": named}))
    monkeypatch.setattr(serving, "fetch", lambda _config: Checkpoint(tmp_path, tmp_path / "whole"))
    task = training._task(until(training, submit(training)))
    assert (task.base_name, task.base_path, task.adapter_path) == (base_name, tmp_path / "whole", tmp_path)
    assert task.checkpoint == Checkpoint(tmp_path, tmp_path / "whole")


def test_the_task_of_a_whole_model_has_no_adapter(training: Training) -> None:
    task = training._task(until(training, submit(training)))
    assert (task.base_name, task.adapter_path, task.checkpoint) == ("base", None, Checkpoint(Path()))


def over(models_dir: Path, adapter: str, base: str) -> None:
    """Make a published model an adapter over another one."""
    config = {"base_model_name_or_path": base}
    (models_dir / adapter / "adapter_config.json").write_text(json.dumps(config))


def test_a_base_stays_as_long_as_adapters_are_over_it(training: Training, models_dir: Path) -> None:
    for name in ("whole", "adapter"):
        until(training, submit(training, model_name=name))
    over(models_dir, "adapter", "whole")
    with pytest.raises(BadInputError, match="adapter would lose the base whole"):
        training.delete_model("whole")
    with pytest.raises(BadInputError, match="adapter would lose the base whole"):
        submit(training, model_name="whole", overwrite=True)
    training.delete_model("adapter")
    training.delete_model("whole")


def test_a_base_stays_as_long_as_a_job_trains_it(training: Training) -> None:
    until(training, submit(training, model_name="whole"))
    job = waiting(training, base_model="whole")
    with pytest.raises(BadInputError, match="cancel it first"):
        training.delete_model("whole")
    training.cancel(job.id)
    training.delete_model("whole")


def test_an_adapter_does_not_take_the_place_of_its_base(training: Training, models_dir: Path) -> None:
    until(training, submit(training, model_name="whole"))
    onto_itself = {"model_name": "whole", "base_model": "whole", "overwrite": True, "method": Method.LORA}
    with pytest.raises(BadInputError, match="merge"):
        submit(training, lora=LoraOptions(), **onto_itself)
    until(training, submit(training, lora=LoraOptions(merge=True), **onto_itself))


def test_an_adapter_needs_a_base_that_it_can_name(training: Training, serving: FakeServing) -> None:
    serving.models["far"] = ModelConfig("far", "e5", "/somewhere/else")
    with pytest.raises(BadInputError, match="merge"):
        submit(training, base_model="far", method=Method.LORA, lora=LoraOptions())


def test_a_damaged_record_of_jobs_switches_training_off_with_a_reason(models_dir: Path, open_training: Open) -> None:
    (models_dir / ".training").mkdir(parents=True)
    (models_dir / ".training" / "jobs.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(UnavailableError, match="move the file away"):
        open_training()
    (models_dir / ".training" / "jobs.sqlite3").unlink()
    open_training()


def test_a_full_disk_is_said_and_the_next_job_runs(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(training._store, "add", raising(full))
        with pytest.raises(UnavailableError, match="disk is full"):
            submit(training)
    with monkeypatch.context() as patch:
        patch.setattr("app.training.runner.PAUSE_S", 0.01)
        patch.setattr(training._runner, "_prepare", raising(full))
        failed = until(training, submit(training))
    assert failed.status is JobStatus.FAILED
    assert "disk is full" in str(failed.error)
    assert until(training, submit(training)).status is JobStatus.COMPLETED


def raising(error: Exception) -> Callable[..., Any]:
    def function(*_: object) -> None:
        raise error

    return function


def test_a_store_that_fails_for_a_while_stops_no_later_job(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.training.runner.PAUSE_S", 0.01)
    genuine, n_failures = training._store.update, 5

    def update(job: Job) -> None:
        nonlocal n_failures
        if n_failures:
            n_failures -= 1
            raise sqlite3.OperationalError("database or disk is full")
        genuine(job)

    monkeypatch.setattr(training._store, "update", update)
    assert until(training, submit(training)).status is JobStatus.COMPLETED


def test_a_name_that_is_anothers_checkpoint_is_refused(training: Training, serving: FakeServing) -> None:
    serving.models["served"] = ModelConfig("served", "e5", "org/Checkpoint")
    with pytest.raises(BadInputError, match="choose another"):
        submit(training, model_name="checkpoint", overwrite=True)


def test_only_so_many_jobs_wait(open_training: Callable[..., Training]) -> None:
    training = open_training(max_pending=1)
    running = waiting(training)
    second = submit(training, model_name="second")
    with pytest.raises(QueueFullError, match="MAX_PENDING_JOBS") as full:
        submit(training, model_name="third")
    assert full.value.retry_after_s == 60
    training.cancel(running.id)
    until(training, second)
    third = waiting(training, model_name="third")
    submit(training, model_name="fourth")
    with pytest.raises(QueueFullError):
        training.resume(running.id)
    training.cancel(third.id)


def test_a_listing_has_the_same_places_as_its_jobs(training: Training) -> None:
    running = waiting(training)
    for name in ("second", "third"):
        submit(training, model_name=name)
    listed = training.jobs()
    assert [job.message for job in listed[1:]] == [f"Waiting for its turn; {n} before it." for n in (1, 2)]
    assert listed[0].progress is not None
    for job in reversed(listed):
        training.cancel(job.id)
    assert training.job(running.id).status is JobStatus.CANCELLED


def test_of_its_own_jobs_alone_it_runs_what_is_submitted_or_resumed_there(
    open_training: Callable[..., Training],
) -> None:
    training = open_training()
    stopped = waiting(training)
    others = submit(training, model_name="others")
    training.close()
    training = open_training(own_jobs_only=True)
    assert until(training, submit(training, model_name="own")).status is JobStatus.COMPLETED
    training.resume(stopped.id)
    until(training, stopped, JobStatus.RUNNING)
    assert training.job(others.id).status is JobStatus.PENDING
    training.close()
    assert until(open_training(), others).status is JobStatus.COMPLETED


def test_nobody_waits_while_a_dataset_is_decoded(training: Training, models_dir: Path) -> None:
    decoding, decoded = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def write(folder: Path) -> Dataset:
        decoding.set()
        assert decoded.wait(30)
        return write_pairs(PAIRS, folder)

    def send() -> None:
        try:
            training.submit(REQUEST, write)
        except BadInputError as error:
            errors.append(error)

    slow = threading.Thread(target=send)
    slow.start()
    assert decoding.wait(30)
    quick = submit(training)
    assert until(training, quick).status is JobStatus.COMPLETED
    training.delete_dataset(quick.id)
    decoded.set()
    slow.join()
    # Its name was free when it came, and is not any more.
    assert "called mine already" in str(errors)
    assert [job.id for job in training.jobs()] == [quick.id]
    assert [folder.name for folder in (models_dir / ".training" / "jobs").iterdir()] == [quick.id]


def test_cancelling_does_not_wait_for_a_download(
    training: Training, serving: FakeServing, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded = threading.Event()

    def fetch(_config: ModelConfig) -> Checkpoint:
        assert downloaded.wait(30)
        return Checkpoint(Path())

    with monkeypatch.context() as patch:
        patch.setattr(serving, "fetch", fetch)
        job = submit(training)
        until(training, job, JobStatus.RUNNING)
        assert training.cancel(job.id).status is JobStatus.CANCELLED
    assert until(training, submit(training, model_name="next")).status is JobStatus.COMPLETED
    downloaded.set()
    assert training.job(job.id).status is JobStatus.CANCELLED


def test_a_completed_job_says_what_it_was_good_for(training: Training) -> None:
    done = until(training, submit(training))
    assert done.message.startswith("Served as mine. It learned: ")
    assert "recall@1 went from 0.10 to 0.90" in done.message
