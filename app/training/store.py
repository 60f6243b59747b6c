"""Jobs on disk: what was committed here survives a kill at any moment. Only the server writes it.

All that is committed is in memory too: whoever asks, perhaps for many people several times a second, waits for no disk.
"""

import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter

from app.core.errors import BadInputError
from app.training.jobs import Job, JobNotFoundError, JobStatus

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    record TEXT NOT NULL,
    idempotency_key TEXT UNIQUE,
    request_sha256 TEXT
)
"""
_JOB = TypeAdapter(Job)


class JobStore:
    """Training jobs in SQLite; may be used from several threads."""

    @classmethod
    def open(cls, file: Path) -> Self:
        connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        # A commit is on the disk when it returns, also when the power fails right after.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(SCHEMA)
        return cls(connection)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._writing = threading.Lock()
        rows = connection.execute("SELECT id, record FROM jobs ORDER BY number").fetchall()
        self._jobs = {job_id: _JOB.validate_json(record) for job_id, record in rows}
        """As they were committed, in the order in which they were added."""
        self._reading = threading.Lock()
        """Of `_jobs`; never held while the disk is waited for."""
        self._n_before: dict[str, int] | None = None

    def add(self, job: Job, idempotency_key: str | None = None, request_sha256: str | None = None) -> None:
        """Store a new job. The key must not be known yet (`with_key`)."""
        with self._writing:
            self._connection.execute(
                "INSERT INTO jobs (id, status, record, idempotency_key, request_sha256) VALUES (?, ?, ?, ?, ?)",
                (job.id, job.status, _to_json(job), idempotency_key, request_sha256),
            )
            self._remember(job)

    def with_key(self, idempotency_key: str, request_sha256: str) -> Job | None:
        """The job that this key started, if it did. Raises `BadInputError` if that was another request."""
        with self._writing:
            row = self._connection.execute(
                "SELECT id, request_sha256 FROM jobs WHERE idempotency_key = ?", (idempotency_key,)
            ).fetchone()
        if row is None:
            return None
        if row[1] != request_sha256:
            raise BadInputError("This Idempotency-Key came with another request before; take a new key.")
        return self.get(row[0])

    def get(self, job_id: str) -> Job:
        """Raises `JobNotFoundError`."""
        with self._reading:
            job = self._jobs.get(job_id)
        if job is None:
            raise JobNotFoundError("There is no training job of that id; GET /training-jobs lists them.")
        return job

    def list(self, *statuses: JobStatus) -> "list[Job]":
        """All jobs, or those in one of `statuses`, in the order in which they were added."""
        with self._reading:
            jobs = [*self._jobs.values()]
        return [job for job in jobs if job.status in statuses] if statuses else jobs

    def n_before(self) -> Mapping[str, int]:
        """Of each pending job: how many run or wait before it."""
        with self._reading:
            if self._n_before is None:
                jobs = self._jobs.values()
                n_running = sum(job.status is JobStatus.RUNNING for job in jobs)
                pending = [job.id for job in jobs if job.status is JobStatus.PENDING]
                self._n_before = {job_id: n_running + place for place, job_id in enumerate(pending)}
            return self._n_before

    def update(self, job: Job) -> None:
        """Store a job that changed."""
        with self._writing:
            changed = self._connection.execute(
                "UPDATE jobs SET status = ?, record = ? WHERE id = ?", (job.status, _to_json(job), job.id)
            )
            if changed.rowcount:
                self._remember(job)

    def delete(self, job_id: str) -> None:
        with self._writing:
            self._connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            with self._reading:
                self._jobs.pop(job_id, None)
                self._n_before = None

    def close(self) -> None:
        """Jobs can still be read."""
        with self._writing:
            self._connection.close()

    def _remember(self, job: Job) -> None:
        with self._reading:
            self._jobs[job.id] = job
            self._n_before = None


def _to_json(job: Job) -> str:
    return _JOB.dump_json(job).decode()
