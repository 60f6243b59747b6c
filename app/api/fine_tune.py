"""Fine-tuning jobs: how they are started."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import Form, Header

from app.api.defaults import PAGES_AND_QUERIES, VISUAL_FAMILY
from app.api.route import EngineDep, SettingsDep, api_router
from app.api.schemas.training import (
    FineTuneLoraRequest,
    FineTuneRequest,
    FineTuneVisualForm,
    JobStarted,
    LoraJobStarted,
    NewModel,
)
from app.api.training import TrainingDep
from app.core.types import Modality, Output
from app.engine.daemon import in_daemon_thread
from app.engine.engine import Engine
from app.settings import Settings
from app.training.admission import JobRequest
from app.training.enough import require_enough
from app.training.jobs import Dataset, Job
from app.training.options import LoraOptions, Method, TrainingOptions
from app.training.page_pairs import PageLimits, write_page_pairs
from app.training.pairs import TextPairs, read_pairs, write_pairs
from app.training.service import Training

router = api_router("training")

IdempotencyKey = Annotated[
    str | None,
    Header(description="A request that is sent again with the same key starts no second job.", max_length=255),
]


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

    def write(folder: Path) -> Dataset:
        copy = folder / "upload"
        with copy.open("wb") as target:
            shutil.copyfileobj(upload, target)
        dataset = write_page_pairs(copy, folder, PageLimits.of(settings), request.options)
        copy.unlink()
        return dataset

    job = await _submit(training, request, write)
    return LoraJobStarted(job_id=job.id, status=job.status)


async def _start_text_job(
    body: FineTuneRequest | FineTuneLoraRequest,
    method: Method,
    lora: LoraOptions | None,
    engine: Engine,
    settings: Settings,
    training: Training,
    idempotency_key: str | None,
) -> Job:
    pairs = await in_daemon_thread(lambda: _pairs(body, settings))
    base = engine.pick(body.base_model or body.model, (Modality.TEXT, Output.DENSE))
    digest = await in_daemon_thread(lambda: _sha256(body))
    request = _job_request(body, base, method, lora, idempotency_key, digest)
    return await _submit(training, request, lambda folder: write_pairs(pairs, folder))


def _pairs(body: FineTuneRequest | FineTuneLoraRequest, settings: Settings) -> TextPairs:
    """What a job is trained on. Raises `BadInputError`, `TooLargeError`."""
    pairs = read_pairs(
        body.text_content,
        hard_negatives=body.hard_negatives,
        max_pairs=settings.max_training_pairs,
        max_chars=settings.max_text_chars,
    )
    require_enough(pairs.pairs, body)
    return pairs


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


async def _submit(training: Training, request: JobRequest, write: Callable[[Path], Dataset]) -> Job:
    return await in_daemon_thread(lambda: training.submit(request, write))


def _only(kind: Any, body: Any) -> Any:
    """The part of a request that is of this kind."""
    return kind.model_validate({name: getattr(body, name) for name in kind.model_fields})
