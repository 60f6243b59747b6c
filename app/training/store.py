"""Jobs on disk: what was committed here survives a kill at any moment. Only the server writes it."""

import sqlite3
import threading
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
        self._lock = threading.Lock()

    def add(self, job: Job, idempotency_key: str | None = None, request_sha256: str | None = None) -> None:
        """Store a new job. The key must not be known yet (`with_key`)."""
        with self._lock:
            self._connection.execute(
                "INSERT INTO jobs (id, status, record, idempotency_key, request_sha256) VALUES (?, ?, ?, ?, ?)",
                (job.id, job.status, _to_json(job), idempotency_key, request_sha256),
            )

    def with_key(self, idempotency_key: str, request_sha256: str) -> Job | None:
        """The job that this key started, if it did. Raises `BadInputError` if that was another request."""
        with self._lock:
            row = self._connection.execute(
                "SELECT record, request_sha256 FROM jobs WHERE idempotency_key = ?", (idempotency_key,)
            ).fetchone()
        if row is None:
            return None
        if row[1] != request_sha256:
            raise BadInputError("This Idempotency-Key came with another request before; take a new key.")
        return _JOB.validate_json(row[0])

    def get(self, job_id: str) -> Job:
        """Raises `JobNotFoundError`."""
        with self._lock:
            row = self._connection.execute("SELECT record FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise JobNotFoundError("There is no training job of that id; GET /training-jobs lists them.")
        return _JOB.validate_json(row[0])

    def list(self, *statuses: JobStatus) -> "list[Job]":
        """All jobs, or those in one of `statuses`, in the order in which they were added."""
        marks = ", ".join("?" * len(statuses))
        where = f"WHERE status IN ({marks})" if statuses else ""
        with self._lock:
            rows = self._connection.execute(
                f"SELECT record FROM jobs {where} ORDER BY number",  # noqa: S608 - question marks only
                tuple(map(str, statuses)),
            ).fetchall()
        return [_JOB.validate_json(row[0]) for row in rows]

    def update(self, job: Job) -> None:
        """Store a job that changed."""
        with self._lock:
            self._connection.execute(
                "UPDATE jobs SET status = ?, record = ? WHERE id = ?", (job.status, _to_json(job), job.id)
            )

    def delete(self, job_id: str) -> None:
        with self._lock:
            self._connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _to_json(job: Job) -> str:
    return _JOB.dump_json(job).decode()
