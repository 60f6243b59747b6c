"""Fine-tuned models on disk: `MODELS_DIR/<served name>/`, each with a record of how it was made."""

import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.core.errors import BadInputError, ModelNotFoundError
from app.engine.config import SERVED_NAME, ModelConfig
from app.families.catalog import CATALOG
from app.training.disk import force_to_disk, write_durably
from app.training.jobs import Job

RECORD_FILE = "training.json"

TRAINING = ".training"
"""Folder of jobs below the models folder, on one disk with it; hidden ones are never listed as checkpoints."""


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """How a model came to be; `training.json` in its folder."""

    job_id: str
    family: str
    base_model: str
    method: str
    options: Mapping[str, Any]
    n_pairs: int
    dataset_sha256: str
    figures: Mapping[str, Mapping[str, float]]
    license: str
    """Of the base's weights."""
    created_at: float

    @classmethod
    def of(cls, job: Job) -> "TrainingRecord":
        lora = job.lora.model_dump() if job.lora else {}
        return cls(
            job_id=job.id,
            family=job.family,
            base_model=job.base_model,
            method=job.method,
            options=job.options.model_dump() | lora,
            n_pairs=job.dataset.n_pairs,
            dataset_sha256=job.dataset.sha256,
            figures=job.figures,
            license=job.license,
            created_at=job.created_at,
        )


def published_models(models_dir: Path) -> "PublishedModels":
    """Those under this folder."""
    return PublishedModels(models_dir, models_dir / TRAINING / "trash")


class PublishedModels:
    """The fine-tuned models under a models folder."""

    def __init__(self, models_dir: Path, trash: Path) -> None:
        """`trash`: a folder on the same disk for what is being removed."""
        self._models_dir = models_dir
        self._trash = trash

    def configs(self) -> list[ModelConfig]:
        """What to serve, by name."""
        folders = sorted(self._models_dir.iterdir()) if self._models_dir.is_dir() else []
        return [config for folder in folders if (config := self._config(folder))]

    def record(self, name: str) -> TrainingRecord | None:
        """How this model was made; None if no fine-tuned model has that name."""
        return _read_record(self._models_dir / name) if SERVED_NAME.fullmatch(name) else None

    def check_name(self, name: str, *, overwrite: bool) -> None:
        """Raises `BadInputError` unless a result may be published under this name."""
        if not SERVED_NAME.fullmatch(name) or ".." in name:
            raise BadInputError(
                "model_name is 1 to 64 small letters, digits, dots, hyphens and underscores, and begins with a letter "
                "or a digit."
            )
        folder = self._models_dir / name
        if not (folder.exists() or folder.is_symlink()):
            return
        if _read_record(folder) is None or folder.is_symlink():
            raise BadInputError(
                f"The models folder has something called {name} that was not trained here; choose another model_name."
            )
        if not overwrite:
            raise BadInputError(
                f"There is a model called {name} already; choose another model_name or send `overwrite: true`."
            )

    def publish(self, result: Path, name: str, record: TrainingRecord) -> ModelConfig:
        """Move a finished checkpoint to its place; whatever lay there under a record goes.

        The folder appears whole, or not at all.
        """
        write_durably(result / RECORD_FILE, TypeAdapter(TrainingRecord).dump_json(record, indent=1))
        self.remove(name)
        result.rename(self._models_dir / name)
        force_to_disk(self._models_dir)
        config = self._config(self._models_dir / name)
        assert config is not None  # noqa: S101 - its record was written above
        return config

    def remove(self, name: str) -> None:
        """Take a fine-tuned model off the disk, if it is there."""
        if self.record(name) is None:
            return
        self._trash.mkdir(parents=True, exist_ok=True)
        # Renamed first: a folder that is half deleted must not be listed.
        aside = self._trash / uuid.uuid4().hex
        (self._models_dir / name).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def require(self, name: str) -> None:
        """Raises `ModelNotFoundError` unless there is a fine-tuned model of that name."""
        if self.record(name) is None:
            raise ModelNotFoundError("There is no fine-tuned model of that name; only those can be deleted.")

    def is_adapter(self, name: str) -> bool:
        """True if the fine-tuned model of that name is an adapter."""
        return self.record(name) is not None and _base_of(self._models_dir / name) is not None

    def adapters_over(self, name: str) -> list[str]:
        """Names of the fine-tuned adapters whose base is this model."""
        return [each.name for each in self.configs() if _base_of(self._models_dir / each.name) == name]

    def empty_trash(self) -> None:
        shutil.rmtree(self._trash, ignore_errors=True)

    def _config(self, folder: Path) -> ModelConfig | None:
        record = _read_record(folder) if SERVED_NAME.fullmatch(folder.name) else None
        if record is None or record.family not in CATALOG:
            return None
        return ModelConfig(
            folder.name, record.family, folder.name, license=record.license, base_model=record.base_model
        )


def with_published(configs: list[ModelConfig], published: list[ModelConfig]) -> list[ModelConfig]:
    """All models to serve; a fine-tuned one takes the place of another of its name."""
    by_name = {config.name: config for config in configs}
    left = {config.name: config for config in published}

    def enter(config: ModelConfig) -> None:
        # After its base, whose settings it takes over.
        if base := left.pop(config.base_model or "", None):
            enter(base)
        by_name[config.name] = computed_like(list(by_name.values()), config)

    for config in published:
        if left.pop(config.name, None):
            enter(config)
    return [by_name[name] for name in dict.fromkeys(config.name for config in (*configs, *published))]


def computed_like(others: Sequence[ModelConfig], config: ModelConfig) -> ModelConfig:
    """The fine-tuned model, computed as the one of its family whose name it takes, or else as its base.

    So an adapter shares the weights of its base, which only models with equal settings can. Of others with the same
    name the first one counts.
    """
    for name in (config.name, config.base_model):
        if before := next((other for other in others if (other.name, other.family) == (name, config.family)), None):
            return replace(config, device=before.device, dtype=before.dtype, backend=before.backend)
    return config


def _base_of(folder: Path) -> str | None:
    """What an adapter calls its base; None if the folder holds none."""
    try:
        base = json.loads((folder / "adapter_config.json").read_bytes())["base_model_name_or_path"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return base if isinstance(base, str) else None


def _read_record(folder: Path) -> TrainingRecord | None:
    try:
        return TypeAdapter(TrainingRecord).validate_json((folder / RECORD_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
