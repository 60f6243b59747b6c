"""Training jobs: what is known of one, and how it may change."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from app.core.errors import BadInputError, ManyvecError
from app.training.options import LoraOptions, Method, TrainingOptions
from app.training.task import Progress


class JobStatus(StrEnum):
    """Where a job is in its life."""

    PENDING = "pending"
    """It waits for its turn."""
    RUNNING = "running"
    COMPLETED = "completed"
    """Its model is served."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The server or the trainer was stopped; it can go on from its last checkpoint."""


TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PENDING: frozenset({JobStatus.RUNNING, JobStatus.CANCELLED, JobStatus.FAILED}),
    JobStatus.RUNNING: frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.INTERRUPTED}),
    JobStatus.INTERRUPTED: frozenset({JobStatus.PENDING, JobStatus.CANCELLED, JobStatus.COMPLETED}),
    JobStatus.FAILED: frozenset({JobStatus.PENDING}),
    JobStatus.CANCELLED: frozenset({JobStatus.PENDING}),
    JobStatus.COMPLETED: frozenset(),
}
"""What a status may become; back to pending is a resumption."""

ENDED = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.INTERRUPTED})
RESUMABLE = frozenset({JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.INTERRUPTED})


class JobNotFoundError(ManyvecError):
    """No training job has that id."""


class JobStateError(BadInputError):
    """The job's status does not allow what was asked."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a job trains on."""

    n_pairs: int
    n_ignored: int
    """Lines that are no pairs."""
    sha256: str
    """Of the pairs as they are kept, or of the file of pages that was sent."""
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A training job as it is stored."""

    id: str
    model_name: str
    """Served name of its result."""
    family: str
    base_model: str
    """Served name of the model that is trained further."""
    method: Method
    options: TrainingOptions
    dataset: Dataset
    lora: LoraOptions | None = None
    overwrite: bool = False
    status: JobStatus = JobStatus.PENDING
    message: str = "Waiting for its turn."
    error: str | None = None
    progress: Progress | None = None
    first_loss: float | None = None
    """Of the first steps."""
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """`before` and `after` the training, on the pairs that were held out."""
    license: str = "see its model card"
    """Of the base's weights."""
    created_at: float = 0.0
    """Seconds since 1970, as all times here."""
    started_at: float | None = None
    finished_at: float | None = None

    def moved(self, status: JobStatus, message: str, error: str | None = None) -> "Job":
        """The job in another status. Raises `JobStateError` if it cannot get there."""
        if status not in TRANSITIONS[self.status]:
            raise JobStateError(f"The job is {self.status}, so it cannot become {status}.")
        now = time.time()
        times: dict[str, Any] = {}
        if status is JobStatus.RUNNING:
            times = {"started_at": now, "finished_at": None}
        elif status in ENDED:
            times = {"finished_at": now}
        else:
            times = {"finished_at": None}
        return replace(self, status=status, message=message, error=error, **times)

    @property
    def percent(self) -> float:
        """0 to 100."""
        if self.status is JobStatus.COMPLETED:
            return 100.0
        if self.progress is None or self.progress.n_steps == 0:
            return 0.0
        return round(100 * self.progress.step / self.progress.n_steps, 1)
