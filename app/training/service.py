"""What the HTTP layer and the command line ask of fine-tuning. Methods that change something wait for a commit."""

import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from app.checkpoints.resolve import base_name
from app.core.errors import UnavailableError
from app.engine.config import ModelConfig
from app.engine.loader import resolve_device
from app.training.admission import Admission, JobRequest, Serving
from app.training.folders import JobFolders
from app.training.jobs import ENDED, RESUMABLE, Dataset, Job, JobStateError, JobStatus
from app.training.process import TRAINER
from app.training.published import TRAINING, TrainingRecord, published_models
from app.training.runner import TrainingRunner
from app.training.store import JobStore
from app.training.task import TrainingTask
from app.training.whole import is_disk_full


class Training:
    """Fine-tuning jobs of one models folder, which one process at a time may hold."""

    @classmethod
    def open(
        cls,
        models_dir: Path,
        serving: Serving,
        device: str = "auto",
        command: Sequence[str] = TRAINER,
        *,
        max_pending: int | None = None,
        own_jobs_only: bool = False,
    ) -> Self:
        """Take the folder over and go on with what is pending.

        At most `max_pending` jobs wait; None: any number. With `own_jobs_only` no job runs that is not submitted or
        resumed here: what waits already goes on waiting. Raises `UnavailableError` if another process has the folder,
        or it cannot be written.
        """
        root = models_dir / TRAINING
        lock = FileLock(root / "lock", blocking=False)
        try:
            root.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise UnavailableError(
                "Another process fine-tunes in this models folder. Send training requests to it, or set "
                "MODELS_DIR to another folder."
            ) from None
        except OSError as error:
            raise UnavailableError(
                "The models folder cannot be written, so nothing can be fine-tuned; set MODELS_DIR to one that can."
            ) from error
        try:
            return cls(root, lock, serving, device, command, max_pending=max_pending, own_jobs_only=own_jobs_only)
        except (sqlite3.Error, OSError) as error:
            lock.release()
            raise UnavailableError(
                "The record of the training jobs (.training/jobs.sqlite3 in the models folder) cannot be opened. Free "
                "some space on the disk, or move the file away if it is damaged, and start the server again."
            ) from error

    def __init__(
        self,
        root: Path,
        lock: FileLock,
        serving: Serving,
        device: str,
        command: Sequence[str],
        *,
        max_pending: int | None,
        own_jobs_only: bool,
    ) -> None:
        self._lock = lock
        self._serving = serving
        self._device = device
        self._submitting = threading.Lock()
        self.published = published_models(root.parent)
        self._folders = JobFolders(root / "jobs", self.published)
        self._store = JobStore.open(root / "jobs.sqlite3")
        self._admission = Admission(serving, self.published, self._store, device, max_pending)
        self.published.empty_trash()
        self._folders.sweep({job.id for job in self._store.list()})
        self._runner = TrainingRunner(self._store, self._folders, self._task, self._publish, command)
        self._runner.start(takes_all=not own_jobs_only)

    @property
    def stopped(self) -> bool:
        """True if no job changes any more before the next start."""
        return self._runner.closing

    def stop(self) -> None:
        """Stop the trainer; its job can be resumed later."""
        self._runner.close()

    def close(self) -> None:
        """Stop, and give the folder back."""
        self.stop()
        self._store.close()
        self._lock.release()

    def submit(self, request: JobRequest, write_dataset: Callable[[Path], Dataset]) -> Job:
        """Store a new job and answer at once; `write_dataset` puts its dataset into the job's folder.

        The same `idempotency_key` gives the job that it started before. Raises `BadInputError`, `QueueFullError`.
        """
        with _disk_errors():
            with self._submitting:
                if known := self._known(request):
                    return known
                self._admission.check(request)
            job_id = uuid.uuid4().hex
            folder = self._folders.create(job_id)
            try:
                # Nobody else need wait while pages are decoded.
                dataset = write_dataset(folder)
                with self._submitting:
                    known = self._known(request)
                    if known is None:
                        # What was checked may have changed meanwhile.
                        base = self._admission.check(request)
                        job = _new_job(job_id, request, base, dataset)
                        self._store.add(job, request.idempotency_key, request.request_sha256)
            except BaseException:
                self._folders.delete(job_id)
                raise
        if known is not None:
            self._folders.delete(job_id)
            return known
        self._runner.take(job_id)
        return self._now(job)

    def job(self, job_id: str) -> Job:
        """The job as it is now; waits for nothing. Raises `JobNotFoundError`."""
        return self._now(self._store.get(job_id))

    def jobs(self) -> list[Job]:
        """All jobs, oldest first; waits for nothing."""
        return [self._now(job) for job in self._store.list()]

    def log(self, job_id: str) -> str:
        """What the job's trainer printed. Raises `JobNotFoundError`."""
        self._store.get(job_id)
        return self._folders.log(job_id)

    def cancel(self, job_id: str) -> Job:
        """Stop a job within seconds. Raises `JobNotFoundError`, `JobStateError` if it has ended."""
        with _disk_errors():
            return self._runner.cancel(job_id)

    def resume(self, job_id: str) -> Job:
        """Go on from the job's last checkpoint. Raises `JobNotFoundError`, `JobStateError`."""
        with self._submitting, _disk_errors():
            job = self._store.get(job_id)
            if job.status not in RESUMABLE:
                raise JobStateError(f"The job is {job.status}; only failed, cancelled and interrupted jobs go on.")
            if job.dataset.deleted:
                raise JobStateError("The job's dataset was deleted, so it cannot go on. Start a new job.")
            self._admission.check_queue()
            self._admission.check_name(job.model_name, overwrite=job.overwrite)
            job = job.moved(JobStatus.PENDING, "Waiting for its turn.")
            self._store.update(job)
        self._runner.take(job_id)
        return self.job(job_id)

    def delete_dataset(self, job_id: str) -> Job:
        """Delete what the job was trained on; its hash stays. Raises `JobStateError` unless the job has ended."""
        with self._submitting:
            job = self._ended(job_id)
            self._folders.delete_dataset(job_id)
            job = replace(job, dataset=replace(job.dataset, deleted=True))
            self._store.update(job)
            return job

    def delete(self, job_id: str) -> None:
        """Forget a job that has ended, and delete its files; a model that it made stays."""
        with self._submitting:
            self._ended(job_id)
            self._store.delete(job_id)
            self._folders.delete(job_id)

    def delete_model(self, name: str) -> None:
        """Take a fine-tuned model out of service, then off the disk.

        Raises `ModelNotFoundError`, `BadInputError` if others need it.
        """
        with self._submitting:
            self.published.require(name)
            self._admission.check_unneeded(name)
            if any(config.name == name for config in self._serving.configs()):
                self._serving.remove(name)
            self.published.remove(name)

    def _known(self, request: JobRequest) -> Job | None:
        """The job that the request's key started."""
        if not (request.idempotency_key and request.request_sha256):
            return None
        known = self._store.with_key(request.idempotency_key, request.request_sha256)
        return known and self._now(known)

    def _ended(self, job_id: str) -> Job:
        job = self.job(job_id)
        if job.status not in ENDED:
            raise JobStateError(f"The job is {job.status}; cancel it first.")
        return job

    def _now(self, stored: Job) -> Job:
        """With what is not stored: its progress, or its place in the queue."""
        if stored.status is JobStatus.PENDING:
            n_before = self._store.n_before().get(stored.id, 0)
            return replace(stored, message=f"Waiting for its turn; {n_before} before it.")
        return self._runner.live(stored.id) or stored

    def _task(self, job: Job) -> TrainingTask:
        """Called by the runner when the job's turn has come."""
        base = self._serving.config(job.base_model)
        checkpoint = self._serving.fetch(base)
        is_adapter = checkpoint.base is not None
        return TrainingTask(
            job_id=job.id,
            model_name=job.model_name,
            family=job.family,
            base_name=base_name(checkpoint.path) if is_adapter else base.checkpoint,
            base_path=checkpoint.base or checkpoint.path,
            method=job.method,
            device=resolve_device(self._device),
            options=job.options,
            lora=job.lora,
            adapter_path=checkpoint.path if is_adapter else None,
        )

    def _publish(self, job: Job, result: Path) -> None:
        """Called by the runner with a whole result."""
        self.published.check_name(job.model_name, overwrite=job.overwrite)
        self._admission.check_no_adapters(job.model_name)
        config = self.published.publish(result, job.model_name, TrainingRecord.of(job))
        self._serving.put(config)
        self._folders.delete_checkpoints(job.id)


def _new_job(job_id: str, request: JobRequest, base: ModelConfig, dataset: Dataset) -> Job:
    return Job(
        id=job_id,
        model_name=request.model_name,
        family=base.family,
        base_model=base.name,
        method=request.method,
        options=request.options,
        lora=request.lora,
        dataset=dataset,
        overwrite=request.overwrite,
        license=base.license,
        created_at=time.time(),
    )


@contextmanager
def _disk_errors() -> Iterator[None]:
    """A full disk becomes an error that says so."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if not is_disk_full(error):
            raise
        raise UnavailableError("The disk is full, so nothing was changed. Free some space and try again.") from error
