"""Fine-tuning jobs: start, follow, stop, go on."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path as FilePath
from typing import Annotated, Any, BinaryIO

from fastapi import Depends, Form, Header, Path, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event

from app.api.defaults import PAGES_AND_QUERIES, VISUAL_FAMILY
from app.api.route import EngineDep, SettingsDep, api_router
from app.api.schemas.training import (
    Deleted,
    FineTuneLoraRequest,
    FineTuneRequest,
    FineTuneVisualForm,
    JobStarted,
    LoraJobStarted,
    NewModel,
    TextPairsRequest,
    TrainingJob,
    TrainingJobList,
    TrainStatus,
)
from app.core.types import Modality, Output
from app.engine.daemon import in_daemon_thread
from app.engine.engine import Engine
from app.settings import Settings
from app.training.admission import JobRequest
from app.training.jobs import ENDED, Dataset, Job
from app.training.options import LoraOptions, Method, TrainingOptions
from app.training.page_pairs import PageLimits, write_page_pairs
from app.training.pairs import read_pairs, write_pairs
from app.training.service import Training
from app.training.switch import TrainingSwitch

router = api_router("training")

EVENT_INTERVAL_S = 0.5
KEEPALIVE_S = 15
"""Proxies close streams that are silent for longer."""

JobId = Annotated[str, Path(description="As the route that started the job gave it.", max_length=64)]
IdempotencyKey = Annotated[
    str | None,
    Header(description="A request that is sent again with the same key starts no second job.", max_length=255),
]


async def _training(request: Request) -> Training:
    switch: TrainingSwitch = request.app.state.training
    return switch.training


TrainingDep = Annotated[Training, Depends(_training)]


async def _known_job(job_id: JobId, training: TrainingDep) -> Job:
    return await in_daemon_thread(lambda: training.job(job_id))


KnownJobDep = Annotated[Job, Depends(_known_job)]


def _text(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    """The good answer of a route that writes text; as a response class of its own it would change the errors' type."""
    content = {media_type: {"schema": {"type": "string"}}}
    return {200: {"description": description, "content": content}}


@router.post("/fine-tune", summary="Fine-tune a text model")
async def fine_tune(
    body: FineTuneRequest,
    engine: EngineDep,
    settings: SettingsDep,
    training: TrainingDep,
    idempotency_key: IdempotencyKey = None,
) -> JobStarted:
    """Answers as soon as the job is stored; the model is served under `model_name` once it is trained."""
    job = await _start_text_job(body, Method.FULL, None, engine, settings, training, idempotency_key)
    return JobStarted(job_id=job.id, status=job.status)


@router.post("/fine-tune-lora", summary="Fine-tune a text model with LoRA or Q-LoRA")
async def fine_tune_lora(
    body: FineTuneLoraRequest,
    engine: EngineDep,
    settings: SettingsDep,
    training: TrainingDep,
    idempotency_key: IdempotencyKey = None,
) -> LoraJobStarted:
    """Answers as soon as the job is stored; the model is served under `model_name` once it is trained."""
    method = Method.QLORA if body.use_qlora else Method.LORA
    job = await _start_text_job(body, method, _only(LoraOptions, body), engine, settings, training, idempotency_key)
    return LoraJobStarted(job_id=job.id, status=job.status)


@router.post("/fine-tune-visual", summary="Fine-tune a page model with LoRA or Q-LoRA")
async def fine_tune_visual(
    form: Annotated[FineTuneVisualForm, Form(media_type="multipart/form-data")],
    engine: EngineDep,
    settings: SettingsDep,
    training: TrainingDep,
    idempotency_key: IdempotencyKey = None,
) -> LoraJobStarted:
    """Answers as soon as the job is stored; the model is served under `model_name` once it is trained."""
    upload = form.dataset.file
    request = _job_request(
        form,
        engine.pick(form.base_model or form.model, *PAGES_AND_QUERIES, prefer=VISUAL_FAMILY),
        Method.QLORA if form.use_qlora else Method.LORA,
        _only(LoraOptions, form),
        idempotency_key,
        await in_daemon_thread(lambda: _sha256(form.model_copy(update={"dataset": None}), upload)),
    )

    def write(folder: FilePath) -> Dataset:
        copy = folder / "upload"
        with copy.open("wb") as target:
            shutil.copyfileobj(upload, target)
        dataset = write_page_pairs(copy, folder, PageLimits.of(settings))
        copy.unlink()
        return dataset

    job = await _submit(training, request, write)
    return LoraJobStarted(job_id=job.id, status=job.status)


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
    jobs = await in_daemon_thread(training.jobs)
    return TrainingJobList(data=[_details(job) for job in jobs])


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


async def _start_text_job(
    body: TextPairsRequest,
    method: Method,
    lora: LoraOptions | None,
    engine: Engine,
    settings: Settings,
    training: Training,
    idempotency_key: str | None,
) -> Job:
    pairs = await in_daemon_thread(
        lambda: read_pairs(
            body.text_content,
            hard_negatives=body.hard_negatives,
            max_pairs=settings.max_training_pairs,
            max_chars=settings.max_text_chars,
        )
    )
    base = engine.pick(body.base_model or body.model, (Modality.TEXT, Output.DENSE))
    digest = await in_daemon_thread(lambda: _sha256(body))
    request = _job_request(body, base, method, lora, idempotency_key, digest)
    return await _submit(training, request, lambda folder: write_pairs(pairs, folder))


def _job_request(
    body: NewModel, base: str, method: Method, lora: LoraOptions | None, idempotency_key: str | None, digest: str
) -> JobRequest:
    return JobRequest(
        model_name=body.model_name,
        base_model=base,
        method=method,
        options=_only(TrainingOptions, body),
        lora=lora,
        overwrite=body.overwrite,
        idempotency_key=idempotency_key,
        request_sha256=digest,
    )


def _sha256(body: NewModel, upload: BinaryIO | None = None) -> str:
    """Of everything that was sent. Leaves the upload at its beginning."""
    digest = hashlib.sha256(body.model_dump_json().encode())
    if upload is not None:
        while chunk := upload.read(1 << 20):
            digest.update(chunk)
        upload.seek(0)
    return digest.hexdigest()


async def _submit(training: Training, request: JobRequest, write: Callable[[FilePath], Dataset]) -> Job:
    return await in_daemon_thread(lambda: training.submit(request, write))


def _only(kind: Any, body: Any) -> Any:
    """The part of a request that is of this kind."""
    return kind.model_validate({name: getattr(body, name) for name in kind.model_fields})


async def _events(job: Job, training: Training) -> AsyncIterator[bytes]:
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
        if (now := await in_daemon_thread(lambda: training.job(job.id))) != job or training.stopped:
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
