"""Trains one job after the other: a thread that starts the trainer, follows it, and ends the job."""

import logging
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.core.errors import ManyvecError
from app.training.folders import JobFolders
from app.training.jobs import ENDED, Job, JobStateError, JobStatus
from app.training.outcome import outcome
from app.training.process import TRAINER, TrainerProcess
from app.training.store import JobStore
from app.training.task import Progress, TrainingTask
from app.training.whole import is_disk_full

log = logging.getLogger(__name__)

Prepare = Callable[[Job], TrainingTask]
"""What a job's trainer must know; may download the base model. Raises `ManyvecError`."""
Publish = Callable[[Job, Path], None]
"""Put a job's whole result into service. Raises `ManyvecError`."""

PAUSE_S = 2.0
"""After an error, before the next attempt."""
INTERRUPTED = "The server was stopped. Resume the job to go on from its last checkpoint."


class TrainingRunner:
    """Runs pending jobs in the order in which they came, one at a time."""

    def __init__(
        self,
        store: JobStore,
        folders: JobFolders,
        prepare: Prepare,
        publish: Publish,
        command: Sequence[str] = TRAINER,
    ) -> None:
        self._store = store
        self._folders = folders
        self._prepare = prepare
        self._publish = publish
        self._command = command
        self._changed = threading.Condition()
        self.closing = False
        """True once `close` was called."""
        self._current: Job | None = None
        self._process: TrainerProcess | None = None
        self._cancelled = False
        self._taken: set[str] | None = None
        """Ids of the jobs that may run; None: all."""
        self._thread = threading.Thread(target=self._work, name="training", daemon=True)

    def start(self, *, takes_all: bool = True) -> None:
        """Put right what an earlier process left behind, then begin to work.

        Unless it `takes_all` pending jobs, it runs those alone that it is told to `take`.
        """
        self._taken = None if takes_all else set()
        for job in self._store.list(JobStatus.RUNNING):
            self._recover(job)
        self._thread.start()

    def take(self, job_id: str) -> None:
        """Run this pending job when its turn comes."""
        with self._changed:
            if self._taken is not None:
                self._taken.add(job_id)
            self._changed.notify_all()

    def live(self, job_id: str) -> Job | None:
        """The job as it is this moment, if it is the one that runs: its progress is stored only now and then."""
        job = self._current
        return job if job is not None and job.id == job_id else None

    def cancel(self, job_id: str) -> Job:
        """Stop a job. Raises `JobStateError` if it has ended."""
        with self._changed:
            if self.live(job_id) is None:
                job = self._store.get(job_id)
                if job.status in ENDED - {JobStatus.INTERRUPTED}:
                    raise JobStateError(f"The job is {job.status} already.")
                job = job.moved(JobStatus.CANCELLED, "Cancelled.")
                self._store.update(job)
                return job
            self._cancelled = True
            if self._process is not None:
                self._process.kill()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.live(job_id) is None, timeout=10)
        return self._store.get(job_id)

    def close(self) -> None:
        """Stop at once; the job that runs can be resumed later."""
        with self._changed:
            self.closing = True
            if self._process is not None:
                self._process.kill()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _work(self) -> None:
        while not self.closing:
            try:
                if (job := self._next()) is not None:
                    self._run(job)
            except Exception as error:
                log.exception("training")
                self._give_up(error)

    def _next(self) -> Job | None:
        """The next pending job, which then runs; waits for one. None when the runner is closing."""
        with self._changed:
            while not self.closing:
                if pending := self._pending():
                    self._cancelled = False
                    job = pending[0].moved(JobStatus.RUNNING, "Starting.")
                    self._store.update(job)
                    self._current = job
                    return job
                self._changed.wait()
        return None

    def _pending(self) -> list[Job]:
        jobs = self._store.list(JobStatus.PENDING)
        return jobs if self._taken is None else [job for job in jobs if job.id in self._taken]

    def _run(self, job: Job) -> None:
        folder = self._folders.of(job.id)
        try:
            self._note(message="Fetching the base model.")
            failure, status = None, 0
            if (task := self._prepared(job)) is not None:
                task.write(folder)
                failure, status = self._follow(folder)
            # Cancelled or not: what is whole by now is finished.
            if failure is None and self._folders.has_result(job.id):
                self._publish_result()
            elif failure is not None:
                self._end(JobStatus.FAILED, "Failed.", failure)
            elif self._cancelled:
                self._end(JobStatus.CANCELLED, "Cancelled.")
            else:
                self._end(JobStatus.INTERRUPTED, _why_interrupted(status, closing=self.closing))
        except ManyvecError as error:
            self._end(JobStatus.FAILED, "Failed.", error.message)

    def _prepared(self, job: Job) -> TrainingTask | None:
        """What the trainer must know; None if the job is cancelled first, or the runner closed.

        A download that has begun cannot be stopped: it goes on by itself, and whoever needs its model next profits.
        """
        prepared: Future[TrainingTask] = Future()

        def prepare() -> None:
            try:
                prepared.set_result(self._prepare(job))
            except BaseException as error:
                prepared.set_exception(error)
            with self._changed:
                self._changed.notify_all()

        threading.Thread(target=prepare, name="training base", daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: prepared.done() or self._cancelled or self.closing)
        return prepared.result() if prepared.done() else None

    def _follow(self, folder: Path) -> tuple[str | None, int]:
        """Run the trainer to its end: the reason that it gives if it fails, and its exit status."""
        with self._changed:
            if self._cancelled or self.closing:
                return None, 0
            process = self._process = TrainerProcess(folder, self._command)
        failure = None
        try:
            for message in process.messages():
                failure = self._heard(message) or failure
            return failure, process.wait()
        finally:
            with self._changed:
                self._process = None
            process.kill()
            process.close()

    def _heard(self, message: Mapping[str, Any]) -> str | None:
        """Note what the trainer says; the reason if it has failed."""
        match message:
            case {"event": "stage", "message": str(text)}:
                self._note(message=f"{text[:1].upper()}{text[1:]}.")
            case {"event": "progress", **values}:
                # Kept in memory: a commit waits for the disk.
                progress, job = Progress(**values), self._running()
                first_loss = progress.loss if job.first_loss is None else job.first_loss
                self._current = replace(job, progress=progress, first_loss=first_loss, message="Training.")
            case {"event": "evaluation", "when": str(when), "figures": dict(figures)}:
                self._note(figures={**self._running().figures, when: figures})
            case {"event": "checkpoint", "step": int(step)}:
                self._note(message=f"Training; a checkpoint of step {step} is on the disk.")
            case {"event": "failed", "reason": str(reason)}:
                return reason
        return None

    def _publish_result(self) -> None:
        self._note(message="Putting the model into service.")
        self._publish(self._running(), self._folders.result(self._running().id))
        self._complete()

    def _recover(self, job: Job) -> None:
        """A job that ran when the server died: finished if its result is whole, else interrupted."""
        self._current = job
        try:
            if self._folders.has_result(job.id):
                self._publish_result()
            elif self._folders.is_published(job):
                self._complete()
            else:
                self._end(JobStatus.INTERRUPTED, INTERRUPTED)
        except ManyvecError as error:
            self._end(JobStatus.FAILED, "Failed.", error.message)
        except OSError as error:
            log.exception("training job %s", job.id)
            self._end(JobStatus.FAILED, "Failed.", _reason(error))

    def _running(self) -> Job:
        assert self._current is not None  # noqa: S101 - only called while a job runs
        return self._current

    def _note(self, **changes: Any) -> None:
        self._current = replace(self._running(), **changes)
        self._store.update(self._current)

    def _complete(self) -> None:
        job = self._running()
        self._end(JobStatus.COMPLETED, f"Served as {job.model_name}. {outcome(job)}")

    def _end(self, status: JobStatus, message: str, error: str | None = None) -> None:
        with self._changed:
            job = self._running().moved(status, message, error)
            self._store.update(job)
            self._current = None
            self._changed.notify_all()
        log.info("training job %s: %s %s", job.id, job.status, error or message)

    def _give_up(self, error: Exception) -> None:
        """End the job after an error that no trainer reported; tries until that can be stored."""
        while self._current is not None and not self.closing:
            try:
                self._end(JobStatus.FAILED, "Failed.", _reason(error))
            except Exception:
                log.exception("the end of a training job cannot be stored")
                self._pause()
        if self._current is None and not self.closing:
            self._pause()

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait(PAUSE_S)


def _reason(error: Exception) -> str:
    """Why a job failed, after an error that no trainer reported."""
    if is_disk_full(error):
        return "The disk is full: free some space, then resume the job."
    return "Something went wrong in the server; its log says more."


def _why_interrupted(status: int, *, closing: bool) -> str:
    if closing:
        return INTERRUPTED
    cause = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    hint = "; that happens when memory runs out: lower mini_batch_size" if status == -signal.SIGKILL else ""
    return f"The trainer {cause}{hint}. Resume the job to go on from its last checkpoint."
