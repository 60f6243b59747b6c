"""Which jobs are taken on, and which models others need."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.core.errors import BadInputError, QueueFullError
from app.core.types import Modality, Output
from app.engine.config import ModelConfig
from app.engine.loader import resolve_device
from app.families.base import Checkpoint
from app.training.jobs import JobStatus
from app.training.options import LoraOptions, Method, TrainingOptions
from app.training.published import PublishedModels
from app.training.qlora import qlora_problem
from app.training.store import JobStore


class Serving(Protocol):
    """The models that are served, as training needs them. May be called from any thread."""

    def config(self, name: str) -> ModelConfig:
        """Of the model served under this name. Raises `ModelNotFoundError`."""

    def configs(self) -> Sequence[ModelConfig]:
        """Of all models that are served."""

    def fetch(self, config: ModelConfig) -> Checkpoint:
        """Find the model's checkpoint on disk, or download it. Raises `ModelLoadError`."""

    def put(self, config: ModelConfig) -> None:
        """Serve this model from now on, in place of another of its name."""

    def remove(self, name: str) -> None:
        """Serve the model no more; waits until its requests are answered."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What somebody wants trained."""

    model_name: str
    base_model: str
    """Served name."""
    method: Method
    options: TrainingOptions
    lora: LoraOptions | None = None
    overwrite: bool = False
    idempotency_key: str | None = None
    request_sha256: str | None = None
    """Of everything that was sent, to tell a repeated request from another one with its key."""


class JobQueueFullError(QueueFullError):
    """As many jobs wait as are allowed to."""

    retry_after_s = 60


class Admission:
    """Checks requests against what is served, published and in the queue."""

    def __init__(
        self,
        serving: Serving,
        published: PublishedModels,
        store: JobStore,
        device: str,
        max_pending: int | None = None,
    ) -> None:
        """`max_pending`: jobs that may wait; None: any number."""
        self._serving = serving
        self._published = published
        self._store = store
        self._device = device
        self._max_pending = max_pending

    def check(self, request: JobRequest) -> ModelConfig:
        """The base of what can be trained. Raises `BadInputError`, `ModelNotFoundError`, `QueueFullError`."""
        base = self._serving.config(request.base_model)
        self.check_queue()
        self.check_name(request.model_name, overwrite=request.overwrite)
        if request.method is Method.QLORA and (problem := qlora_problem(resolve_device(self._device))):
            raise BadInputError(problem)
        if request.method is Method.FULL and not base.spec.can(Modality.TEXT, Output.DENSE):
            raise BadInputError("Page models are fine-tuned with LoRA only.")
        if request.lora and not request.lora.merge and not self._published.is_adapter(base.name):
            _check_nameable(base)
            if request.model_name == base.name:
                raise BadInputError(
                    "An adapter cannot take the place of its own base; choose another model_name or send `merge: true`."
                )
        if request.options.train_heads and base.family != "bge-m3":
            raise BadInputError(f"train_heads is for BGE-M3; {base.name} is of the family {base.family}.")
        return base

    def check_queue(self) -> None:
        """Raises `QueueFullError` if no further job may wait."""
        n_pending = len(self._store.list(JobStatus.PENDING))
        if self._max_pending is not None and n_pending >= self._max_pending:
            raise JobQueueFullError(
                f"{n_pending} training jobs wait already, which is the limit (MAX_PENDING_JOBS): try again when one "
                "has ended, or cancel one."
            )

    def check_name(self, name: str, *, overwrite: bool) -> None:
        """Raises `BadInputError` unless a job may make a model of this name."""
        self._published.check_name(name, overwrite=overwrite)
        configs = self._serving.configs()
        if any(Path(config.checkpoint).name.lower() == name != config.name for config in configs):
            # A folder of that name would be taken for the checkpoint, which is looked for on the disk first.
            raise BadInputError(f"{name} is what a served model's checkpoint is called; choose another model_name.")
        if any(config.name == name for config in configs) and not overwrite:
            raise BadInputError(
                f"A model is served as {name} already; choose another model_name or send `overwrite: true`."
            )
        self.check_no_adapters(name)
        active = self._store.list(JobStatus.PENDING, JobStatus.RUNNING)
        if any(job.model_name == name for job in active):
            raise BadInputError(
                f"A job that makes {name} waits or runs already; cancel it or choose another model_name."
            )

    def check_unneeded(self, name: str) -> None:
        """Raises `BadInputError` if an adapter or a job needs this model."""
        self.check_no_adapters(name)
        active = self._store.list(JobStatus.PENDING, JobStatus.RUNNING)
        if any(job.base_model == name for job in active):
            raise BadInputError(f"A job that waits or runs trains {name} further; cancel it first.")

    def check_no_adapters(self, name: str) -> None:
        """Raises `BadInputError` if adapters would lose their base, or get another one, with this model."""
        if adapters := self._published.adapters_over(name):
            raise BadInputError(f"{', '.join(adapters)} would lose the base {name}; delete what is over it first.")


def _check_nameable(base: ModelConfig) -> None:
    """Raises `BadInputError` if an adapter could not name this base so that it is found again."""
    path = Path(base.checkpoint)
    if path.is_absolute() or len(path.parts) > 2:
        raise BadInputError(
            f"{base.name} does not lie directly in the models folder, so an adapter over it would not be found; send "
            "`merge: true`."
        )
