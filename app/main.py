"""The only wiring: settings in, application out."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

import app as package
from app import api
from app.checkpoints.hub import Hub
from app.checkpoints.resolve import resolve
from app.core.processors import n_processors
from app.engine.config import ConfigError, ModelConfig, configure, read_models_file
from app.engine.daemon import in_daemon_thread
from app.engine.engine import Engine
from app.engine.lane import PrepareThreads
from app.engine.loader import CheckpointLoader
from app.engine.metrics import EngineMetrics, metrics_registry
from app.engine.model_runner import RunnerLimits
from app.engine.registry import Loader, ModelRegistry
from app.families.base import Checkpoint
from app.pdf.process import WORKER, ProcessLimits
from app.pdf.renderer import PdfRenderer
from app.settings import Settings
from app.training.process import TRAINER
from app.training.published import published_models, with_published
from app.training.serving import EngineServing
from app.training.switch import TrainingSwitch

log = logging.getLogger(__name__)

BYTES_TO_READ_PDFS = 2 << 30
"""Address space of a process that draws PDFs, beside what the pixels of a page take."""

DESCRIPTION = """
Text, pages and pictures into vectors: ColQwen2.5, ColQwen2, ColPali, E5, BGE-M3 and DINOv3 behind one server.
`GET /v1/models` lists the models; most routes take an optional `model`. Every answer bears an `X-Request-Id`, yours
if you send one of up to 128 letters, digits, dots, hyphens and underscores; the server's log names it too.
"""


def create_app(
    settings: Settings | None = None, loader: Loader | None = None, trainer: Sequence[str] = TRAINER
) -> FastAPI:
    """Build the application. Raises `ConfigError`.

    `loader` and `trainer` replace what reads checkpoints and the command that trains them (tests).
    """
    settings = settings or Settings()
    configs, default_text = configured_models(settings)
    preloaded = _preloaded(settings.preload, configs)
    collectors = metrics_registry()
    engine_metrics = EngineMetrics(collectors)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        threads = PrepareThreads(settings.prepare_threads)
        models = loader or checkpoint_loader(settings, threads)
        training = app.state.training = TrainingSwitch()
        registry = ModelRegistry(
            configs,
            models,
            engine_metrics,
            memory_budget_bytes=settings.memory_budget_mb << 20 if settings.memory_budget_mb else None,
            load_wait_s=settings.load_wait_s,
            stuck_after_s=settings.stuck_after_s,
        )
        bulk_answers = ThreadPoolExecutor(n_processors(), thread_name_prefix="bulk-answer")
        engine = Engine(
            registry,
            threads,
            engine_metrics,
            device=settings.device,
            default_text=default_text,
            bulk_answers=bulk_answers,
        )
        app.state.engine = engine
        pdfs = app.state.pdfs = pdf_renderer(settings)
        if settings.training:
            serving = EngineServing(engine, models.fetch, asyncio.get_running_loop(), models_of_file(settings)[0])
            # In a thread: it waits for the disk, and what it finds there it may put into service at once.
            await in_daemon_thread(
                lambda: training.open(settings.models_dir, serving, settings.device, trainer, settings.max_pending_jobs)
            )
        # `device` imports torch, which takes a second or two that the first request need not wait for.
        warmup = asyncio.gather(engine.device(), engine.preload(preloaded))
        try:
            yield
        finally:
            warmup.cancel()
            await asyncio.gather(warmup, return_exceptions=True)
            await pdfs.close()
            await in_daemon_thread(training.close)
            await engine.close()
            bulk_answers.shutdown(wait=False, cancel_futures=True)

    # Swagger UI from this server: the default page loads it from another host.
    app = FastAPIOffline(title="Manyvec", version=package.__version__, description=DESCRIPTION, lifespan=lifespan)
    app.state.settings = settings
    app.state.preloaded = preloaded
    api.install(app, settings, collectors)
    return app


def configured_models(settings: Settings) -> tuple[list[ModelConfig], str | None]:
    """The models to serve, fine-tuned ones included, and the default text model's name."""
    configs, default_text = models_of_file(settings)
    return with_published(configs, published_models(settings.models_dir).configs()), default_text


def models_of_file(settings: Settings) -> tuple[list[ModelConfig], str | None]:
    """The models of the models file and the environment, and the default text model's name."""
    checkpoints = {
        "colqwen2.5": settings.colqwen_model_id,
        "colqwen2": settings.colqwen2_model_id,
        "colpali": settings.colpali_model_id,
        "e5": settings.e5_model_id,
        "bge-m3": settings.bge_m3_model_id,
        "dinov3": settings.dinov3_model_id,
    }
    return configure(read_models_file(settings.models_file), checkpoints, settings.model_name, settings.models_dir)


def checkpoint_finder(settings: Settings) -> Callable[[ModelConfig], Checkpoint]:
    """What finds a model's checkpoint in the models folder, or downloads it from the hub."""
    downloads = hub(settings)

    def find(config: ModelConfig) -> Checkpoint:
        return resolve(config.checkpoint, config.revision, settings.models_dir, downloads)

    return find


def checkpoint_loader(settings: Settings, threads: PrepareThreads) -> CheckpointLoader:
    """The loader that serves real checkpoints, from the models folder or the hub."""
    return CheckpointLoader(
        checkpoint_finder(settings),
        device=settings.device,
        dtype=settings.dtype,
        limits=RunnerLimits(
            max_batch_tokens=settings.max_batch_tokens,
            max_batch_items=settings.max_batch_items,
            max_wait_ms=settings.max_wait_ms,
            max_queue_items=settings.max_queue_items,
            max_vector_bytes=settings.max_vectors_mb << 20,
            max_image_pixels=settings.max_image_pixels,
        ),
        threads=threads,
    )


def pdf_renderer(settings: Settings) -> PdfRenderer:
    """What draws the pages of PDFs; none of its processes is started yet."""
    max_pixels = settings.max_image_pixels
    # Three bytes a pixel, in pdfium's bitmap, in Pillow's picture, twice in a PNG that cannot be compressed.
    limits = ProcessLimits(address_space=BYTES_TO_READ_PDFS + 12 * max_pixels, answer_bytes=(1 << 20) + 4 * max_pixels)
    return PdfRenderer(settings.pdf_dpi, max_pixels, limits, WORKER)


def hub(settings: Settings) -> Hub:
    """The model hub as the settings allow it."""
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    return Hub(token=token, offline=settings.hf_hub_offline)


def _preloaded(names: str, configs: list[ModelConfig]) -> list[str]:
    served = [config.name for config in configs]
    if names.strip() == "all":
        return served
    wanted = [name for name in map(str.strip, names.split(",")) if name]
    if unknown := [name for name in wanted if name not in served]:
        raise ConfigError(f"PRELOAD names {', '.join(unknown)}; the models served are {', '.join(served)}.")
    return wanted


@cache
def _default_app() -> FastAPI:
    return create_app()


def __getattr__(name: str) -> Any:
    # Built on first use by `uvicorn app.main:app`, so that importing this module reads no settings.
    if name == "app":
        return _default_app()
    raise AttributeError(name)
