"""Jobs on disk."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.errors import BadInputError
from app.training.jobs import ENDED, RESUMABLE, TRANSITIONS, Dataset, Job, JobNotFoundError, JobStateError, JobStatus
from app.training.options import LoraOptions, Method, TrainingOptions
from app.training.store import JobStore
from app.training.task import Progress


def job(job_id: str = "1", status: JobStatus = JobStatus.PENDING) -> Job:
    return Job(
        id=job_id,
        model_name="mine",
        family="e5",
        base_model="e5-starter",
        method=Method.LORA,
        options=TrainingOptions(epochs=2),
        dataset=Dataset(3, 1, "00"),
        lora=LoraOptions(r=4),
        status=status,
        progress=Progress(1, 2, 0.5, 0.25, 1e-3, 9.0, 1.0),
        figures={"before": {"recall@1": 0.5}},
    )


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore.open(tmp_path / "jobs.sqlite3")


def test_a_job_is_read_as_it_was_written_also_by_another_process(store: JobStore, tmp_path: Path) -> None:
    store.add(job())
    assert JobStore.open(tmp_path / "jobs.sqlite3").get("1") == job()


def test_jobs_are_listed_in_order_and_by_status(store: JobStore) -> None:
    for name, status in (("b", JobStatus.PENDING), ("a", JobStatus.FAILED), ("c", JobStatus.PENDING)):
        store.add(job(name, status))
    assert [each.id for each in store.list()] == ["b", "a", "c"]
    assert [each.id for each in store.list(JobStatus.PENDING)] == ["b", "c"]


def test_an_update_replaces_the_record(store: JobStore) -> None:
    store.add(job())
    store.update(replace(job(), status=JobStatus.RUNNING, message="Training."))
    assert store.get("1").message == "Training."
    assert store.list(JobStatus.PENDING) == []


def test_a_key_finds_its_job_and_refuses_another_request(store: JobStore) -> None:
    store.add(job(), "key", "hash")
    assert store.with_key("other", "hash") is None
    assert store.with_key("key", "hash") == job()
    with pytest.raises(BadInputError, match="another request"):
        store.with_key("key", "different")


def test_reading_does_not_wait_for_the_disk(store: JobStore) -> None:
    store.add(job())
    with store._writing:  # As while something is committed.
        assert store.get("1") == job()
        assert store.list() == [job()]
        assert store.n_before() == {"1": 0}


def test_a_commit_that_fails_changes_nothing(store: JobStore) -> None:
    store.add(job())
    store.close()
    with pytest.raises(sqlite3.Error):
        store.update(replace(job(), message="Training."))
    assert store.get("1") == job()


def test_a_deleted_job_does_not_come_back(store: JobStore) -> None:
    store.add(job())
    store.delete("1")
    store.update(job())
    assert store.list() == []


def test_pending_jobs_wait_for_what_runs_and_for_older_ones(store: JobStore) -> None:
    states = {"a": JobStatus.PENDING, "b": JobStatus.RUNNING, "c": JobStatus.FAILED, "d": JobStatus.PENDING}
    for name, status in states.items():
        store.add(job(name, status))
    assert store.n_before() == {"a": 1, "d": 2}
    store.update(job("c"))
    assert store.n_before() == {"a": 1, "c": 2, "d": 3}
    store.update(job("b", JobStatus.COMPLETED))
    assert store.n_before() == {"a": 0, "c": 1, "d": 2}


def test_an_unknown_job_is_an_error(store: JobStore) -> None:
    with pytest.raises(JobNotFoundError):
        store.get("none")


@pytest.mark.parametrize("status", JobStatus)
def test_every_status_has_its_ways_out(status: JobStatus) -> None:
    for other in JobStatus:
        if other in TRANSITIONS[status]:
            assert job(status=status).moved(other, "").status is other
        else:
            with pytest.raises(JobStateError, match=f"is {status}"):
                job(status=status).moved(other, "")


def test_what_has_ended_and_is_not_done_can_go_on() -> None:
    assert {status for status in ENDED if JobStatus.PENDING in TRANSITIONS[status]} == RESUMABLE
