"""`python -m app train`: one job, followed in the terminal, without a server."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import sleep

from app.core.errors import BadInputError, ManyvecError, ModelNotFoundError
from app.core.types import Modality, Output
from app.engine.config import ModelConfig
from app.families.base import Checkpoint
from app.settings import Settings
from app.training.admission import JobRequest
from app.training.enough import require_enough
from app.training.flags import chosen, in_flags
from app.training.jobs import ENDED, RESUMABLE, Dataset, Job, JobNotFoundError, JobStateError, JobStatus
from app.training.options import LoraOptions, Method, TrainingOptions
from app.training.page_pairs import PageLimits, write_page_pairs
from app.training.pairs import read_pairs, write_pairs
from app.training.process import TRAINER
from app.training.service import Training

LOOK_S = 0.2


class LocalServing:
    """Implements `Serving` where nothing is served: the next server finds on disk what was trained."""

    def __init__(self, configs: Sequence[ModelConfig], fetch: Callable[[ModelConfig], Checkpoint]) -> None:
        self._configs = {config.name: config for config in configs}
        self.fetch = fetch

    def config(self, name: str) -> ModelConfig:
        if name not in self._configs:
            raise ModelNotFoundError("No such model. Models of the models file: " + ", ".join(self._configs) + ".")
        return self._configs[name]

    def configs(self) -> list[ModelConfig]:
        return list(self._configs.values())

    def put(self, config: ModelConfig) -> None:
        self._configs[config.name] = config

    def remove(self, name: str) -> None:
        del self._configs[name]

    def first(self, modality: Modality, output: Output) -> str:
        """Name of the first model that can do this. Raises `ModelNotFoundError`."""
        able = [name for name, config in self._configs.items() if config.spec.can(modality, output)]
        if not able:
            raise ModelNotFoundError("The models file has no model for this.")
        return able[0]


def train(
    options: argparse.Namespace, settings: Settings, serving: LocalServing, trainer: Sequence[str] = TRAINER
) -> None:
    """Run the job to its end, with a progress bar; others that wait are left to the next server.

    Raises `ManyvecError`, whose words are those of the command line, and `KeyboardInterrupt` once the job is cancelled.
    `trainer` replaces the command (tests).
    """
    try:
        _train(options, settings, serving, trainer)
    except ManyvecError as error:
        error.message = in_flags(error.message)
        raise


def _train(options: argparse.Namespace, settings: Settings, serving: LocalServing, trainer: Sequence[str]) -> None:
    training = Training.open(settings.models_dir, serving, settings.device, trainer, own_jobs_only=True)
    job = None
    try:
        if n_others := sum(job.status is JobStatus.PENDING and job.id != options.resume for job in training.jobs()):
            print(f"Jobs that wait for the next server, and are left to it: {n_others}.", file=sys.stderr)
        job = _resumed(options.resume, training) if options.resume else _submitted(options, settings, serving, training)
        _follow(training, job)
    except KeyboardInterrupt:
        if job is not None:
            _stop(training, job)
        raise
    finally:
        training.close()


def _stop(training: Training, job: Job) -> None:
    """Cancel the job, so that no server goes on with it unasked."""
    with suppress(JobStateError):
        training.cancel(job.id)
    now = training.job(job.id)
    says = f"Go on with: python -m app train --resume {job.id}" if now.status in RESUMABLE else now.message
    print(f"\nStopped. {says}", file=sys.stderr)


def _resumed(job_id: str, training: Training) -> Job:
    try:
        return training.resume(job_id)
    except JobNotFoundError as error:
        others = ", ".join(f"{job.id} ({job.model_name})" for job in training.jobs() if job.status in RESUMABLE)
        raise BadInputError(
            f"There is no training job of that id. Jobs that can be resumed: {others or 'none'}."
        ) from error


def _submitted(options: argparse.Namespace, settings: Settings, serving: LocalServing, training: Training) -> Job:
    if not options.pairs or not options.model_name:
        raise BadInputError("Name a file of pairs and a --model-name, or a job to --resume.")
    wanted = chosen(TrainingOptions, options)
    is_pages = options.pairs.suffix in (".jsonl", ".parquet")
    write = _page_writer(options.pairs, wanted, settings) if is_pages else _text_writer(options, wanted, settings)
    kind = (Modality.IMAGE, Output.MULTI_VECTOR) if is_pages else (Modality.TEXT, Output.DENSE)
    base = options.base_model or serving.first(*kind)
    if not serving.config(base).spec.can(*kind):
        raise BadInputError(f"{base} does not read {kind[0]}s as these pairs need it; name another --base-model.")
    is_lora = options.lora or options.qlora or is_pages
    method = Method.QLORA if options.qlora else Method.LORA if is_lora else Method.FULL
    request = JobRequest(
        model_name=options.model_name,
        base_model=base,
        method=method,
        options=wanted,
        lora=chosen(LoraOptions, options) if is_lora else None,
        overwrite=options.overwrite,
    )
    return training.submit(request, write)


def _text_writer(options: argparse.Namespace, wanted: TrainingOptions, settings: Settings) -> Callable[[Path], Dataset]:
    try:
        text = options.pairs.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{options.pairs} cannot be read as UTF-8 text: {error}.") from error
    pairs = read_pairs(
        text,
        hard_negatives=options.hard_negatives,
        max_pairs=settings.max_training_pairs,
        max_chars=settings.max_text_chars,
    )
    require_enough(pairs.pairs, wanted)
    return lambda folder: write_pairs(pairs, folder)


def _page_writer(file: Path, wanted: TrainingOptions, settings: Settings) -> Callable[[Path], Dataset]:
    if not file.is_file():
        raise BadInputError(f"There is no file {file}.")
    return lambda folder: write_page_pairs(file, folder, PageLimits.of(settings), wanted)


def _follow(training: Training, job: Job) -> None:
    from tqdm import tqdm

    with tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {postfix}") as bar:
        while (now := training.job(job.id)).status not in ENDED:
            bar.set_description(now.message.rstrip("."))
            bar.n = now.percent
            bar.set_postfix_str(_figures_now(now))
            sleep(LOOK_S)
        bar.n = now.percent
        bar.set_postfix_str(_figures_now(now))
    if now.status is not JobStatus.COMPLETED:
        log = f".training/jobs/{now.id}/log.txt in the models folder"
        raise BadInputError(f"{now.status}: {now.error or now.message} The log is {log}.")
    for when, figures in now.figures.items():
        print(f"{when:>7}: {_row(figures)}")
    print(f"{in_flags(now.message)} The next server that starts serves it.")


def _figures_now(job: Job) -> str:
    progress = job.progress
    if progress is None:
        return ""
    return (
        f"step {progress.step}/{progress.n_steps}, epoch {progress.epoch:.2f}, loss {progress.loss:.4f}, "
        f"rate {progress.learning_rate:.1e}, {progress.examples_per_second:.1f} pairs/s, "
        f"{progress.seconds_left:.0f} s left"
    )


def _row(figures: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
