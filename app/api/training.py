"""Fine-tuning jobs once they are started: follow, stop, go on, forget."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

from fastapi import Depends, Path, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event

from app.api.route import api_router
from app.api.schemas.training import Deleted, TrainingJob, TrainingJobList, TrainStatus
from app.engine.daemon import in_daemon_thread
from app.training.jobs import ENDED, Job, JobNotFoundError
from app.training.service import Training
from app.training.switch import TrainingSwitch

router = api_router("training")

EVENT_INTERVAL_S = 0.5
KEEPALIVE_S = 15
"""Proxies close streams that are silent for longer."""

JobId = Annotated[str, Path(description="As the route that started the job gave it.", max_length=64)]


async def _training(request: Request) -> Training:
    switch: TrainingSwitch = request.app.state.training
    return switch.training


TrainingDep = Annotated[Training, Depends(_training)]


async def _known_job(job_id: JobId, training: TrainingDep) -> Job:
    return training.job(job_id)


KnownJobDep = Annotated[Job, Depends(_known_job)]


def _text(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    """The good answer of a route that writes text; as a response class of its own it would change the errors' type."""
    content = {media_type: {"schema": {"type": "string"}}}
    return {200: {"description": description, "content": content}}


@router.get("/train-status/{job_id}", summary="Where a training job is")
async def train_status(job: KnownJobDep) -> TrainStatus:
    return TrainStatus(**_status(job))


@router.get(
    "/train-status/{job_id}/events",
    summary="The same as server-sent events, whenever it changes",
    response_class=Response,
    responses=_text("text/event-stream", "All that is known of the job, as JSON, until it ends."),
)
async def train_status_events(job: KnownJobDep, training: TrainingDep) -> Response:
    """The stream ends when the job does."""
    return EventSourceResponse(_events(job, training), headers={"Cache-Control": "no-cache"})


@router.get("/training-jobs", summary="All training jobs")
async def list_training_jobs(training: TrainingDep) -> TrainingJobList:
    return TrainingJobList(data=[_details(job) for job in training.jobs()])


@router.get("/training-jobs/{job_id}", summary="All that is known of a training job")
async def get_training_job(job: KnownJobDep) -> TrainingJob:
    return _details(job)


@router.get(
    "/training-jobs/{job_id}/log",
    summary="What the trainer printed",
    response_class=Response,
    responses=_text("text/plain", "Warnings and errors of the libraries."),
)
async def get_training_log(job_id: JobId, training: TrainingDep) -> Response:
    return PlainTextResponse(await in_daemon_thread(lambda: training.log(job_id)))


@router.post("/training-jobs/{job_id}/cancel", summary="Stop a training job")
async def cancel_training_job(job_id: JobId, training: TrainingDep) -> TrainingJob:
    return _details(await in_daemon_thread(lambda: training.cancel(job_id)))


@router.post("/training-jobs/{job_id}/resume", summary="Go on from a job's last checkpoint")
async def resume_training_job(job_id: JobId, training: TrainingDep) -> TrainingJob:
    return _details(await in_daemon_thread(lambda: training.resume(job_id)))


@router.delete("/training-jobs/{job_id}/dataset", summary="Delete what a job was trained on; its hash stays")
async def delete_training_dataset(job_id: JobId, training: TrainingDep) -> TrainingJob:
    return _details(await in_daemon_thread(lambda: training.delete_dataset(job_id)))


@router.delete("/training-jobs/{job_id}", summary="Forget a job that has ended; a model that it made stays")
async def delete_training_job(job_id: JobId, training: TrainingDep) -> Deleted:
    await in_daemon_thread(lambda: training.delete(job_id))
    return Deleted(id=job_id)


@router.delete("/models/{name}", summary="Delete a fine-tuned model: from service first, then from disk")
async def delete_model(
    name: Annotated[str, Path(description="Served name.", max_length=64)], training: TrainingDep
) -> Deleted:
    await in_daemon_thread(lambda: training.delete_model(name))
    return Deleted(id=name)


async def _events(job: Job, training: Training) -> AsyncIterator[bytes]:
    # It may be deleted as soon as it has ended.
    with suppress(JobNotFoundError):
        while True:
            yield format_sse_event(data_str=_details(job).model_dump_json())
            if job.status in ENDED or training.stopped:
                return
            while (now := await _changed(job, training)) is None:
                yield KEEPALIVE_COMMENT
            job = now


async def _changed(job: Job, training: Training) -> Job | None:
    """The job as soon as it is not as it was; None if it stays so for long."""
    for _ in range(int(KEEPALIVE_S / EVENT_INTERVAL_S)):
        # In memory: many may listen to a job that lasts for hours.
        if (now := training.job(job.id)) != job or training.stopped:
            return now
        await asyncio.sleep(EVENT_INTERVAL_S)
    return None


def _status(job: Job) -> dict[str, Any]:
    """The fields of `TrainStatus`."""
    ignored = f" Lines of the dataset that are no pairs, and were ignored: {job.dataset.n_ignored}."
    return {
        "status": job.status,
        "progress": job.percent,
        "message": job.message + (ignored if job.dataset.n_ignored else ""),
        "error": job.error,
        "steps": job.progress.step if job.progress else 0,
        "epoch": job.progress.epoch if job.progress else 0.0,
    }


def _details(job: Job) -> TrainingJob:
    progress = job.progress
    return TrainingJob(
        **_status(job),
        id=job.id,
        model_name=job.model_name,
        base_model=job.base_model,
        family=job.family,
        method=job.method,
        n_pairs=job.dataset.n_pairs,
        n_ignored=job.dataset.n_ignored,
        dataset_sha256=job.dataset.sha256,
        dataset_deleted=job.dataset.deleted,
        n_steps=progress.n_steps if progress else None,
        loss=progress.loss if progress else None,
        learning_rate=progress.learning_rate if progress else None,
        examples_per_second=progress.examples_per_second if progress else None,
        seconds_left=progress.seconds_left if progress else None,
        figures={when: dict(figures) for when, figures in job.figures.items()},
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )
