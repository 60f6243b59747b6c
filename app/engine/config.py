"""Which models are served: the models file, with the environment's word over it."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictBool, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from app.core.errors import ManyvecError
from app.core.types import Modality, Output
from app.families.base import FamilySpec
from app.families.catalog import CATALOG, family_by_files, family_by_name

SERVED_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""What a model may be called; such a name is also safe as a folder name."""


class ConfigError(ManyvecError):
    """The models file or a variable is wrong; the message says where."""


Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
Dtype = Literal["auto", "float32", "bfloat16", "float16", "int8"]
Backend = Literal["auto", "torch", "onnxruntime", "openvino"]


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class ModelConfig:
    """One model that is served: an entry `[[model]]` of the models file."""

    name: Annotated[str, Field(pattern=f"^{SERVED_NAME.pattern}$")]
    """What requests call it."""
    family: str
    """A key of `CATALOG`."""
    checkpoint: Annotated[str, Field(min_length=1)]
    """Folder under the models folder, else a hub id."""
    revision: str | None = None
    """Commit, tag or branch on the hub."""
    device: Device | None = None
    """None: the server's."""
    dtype: Dtype | None = None
    """None: the server's. `int8`: text models on a CPU."""
    backend: Backend = "auto"
    """What computes; auto: the fastest for the model on its device."""
    license: str = "see its model card"
    """Of the weights."""
    trained: StrictBool = True
    """False for random weights, whose vectors mean nothing."""
    base_model: str | None = None
    """Of a fine-tuned model: the served name, then, of what was trained further."""

    @property
    def spec(self) -> FamilySpec:
        return CATALOG[self.family]


def read_models_file(path: Path) -> list[ModelConfig]:
    """Read and check a models file. Raises `ConfigError`."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"Cannot read the models file {path}: {error}") from error
    entries = content.get("model", [])
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path} lists no [[model]].")
    models = [_model_config(entry, number, path) for number, entry in enumerate(entries, 1)]
    names = [model.name for model in models]
    if duplicates := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"{path} lists two models called {', '.join(sorted(duplicates))}.")
    return models


def configure(
    models: list[ModelConfig], checkpoints: Mapping[str, str | None], text_model: str | None, models_dir: Path
) -> tuple[list[ModelConfig], str | None]:
    """Apply the environment to the models file.

    `checkpoints` maps a family to the checkpoint that replaces the one of its first model; `text_model` is
    MODEL_NAME. Returns the models and the served name of the default text model (None: no text model).
    """
    for family, checkpoint in checkpoints.items():
        if checkpoint:
            models = _replace_checkpoint(models, family, checkpoint)
    if not text_model:
        return models, next((m.name for m in models if m.spec.can(Modality.TEXT, Output.DENSE)), None)
    chosen = next((m for m in models if text_model.lower() in (m.name, m.checkpoint.lower())), None)
    if chosen is None:
        spec = family_by_name(text_model) or family_by_files(models_dir / text_model)
        chosen = ModelConfig(_free_name(text_model, models), spec.name, text_model)
        models = [*models, chosen]
    return models, chosen.name


def served_name(checkpoint: str) -> str:
    """`vidore/ColQwen2.5-v0.2` -> `colqwen2.5-v0.2`."""
    slug = re.sub(r"[^a-z0-9._-]+", "-", checkpoint.rstrip("/").rsplit("/", 1)[-1].lower()).lstrip(".-_")
    return slug[:64] or "model"


def _model_config(entry: Any, number: int, path: Path) -> ModelConfig:
    try:
        model = TypeAdapter(ModelConfig).validate_python(entry)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "the entry"
        raise ConfigError(f"{path}: [[model]] number {number}: {place}: {problem['msg']}.") from error
    if model.family not in CATALOG:
        raise ConfigError(f"{path}: {model.name}: family is one of {', '.join(CATALOG)}, not {model.family!r}.")
    backend = "onnxruntime" if model.dtype == "int8" else model.backend
    if backend not in ("auto", *model.spec.backends):
        raise ConfigError(
            f"{path}: {model.name}: dtype int8 and the backends onnxruntime and openvino are for text models, not for "
            f"{model.family}."
        )
    return model


def _replace_checkpoint(models: list[ModelConfig], family: str, checkpoint: str) -> list[ModelConfig]:
    first = next((m for m in models if m.family == family), None)
    if first is not None and first.checkpoint == checkpoint:
        return models
    others = [m for m in models if m is not first]
    new = ModelConfig(_free_name(checkpoint, others), family, checkpoint)
    if first is None:
        return [*models, new]
    new = replace(new, device=first.device, dtype=first.dtype, backend=first.backend)
    return [new if m is first else m for m in models]


def _free_name(checkpoint: str, models: list[ModelConfig]) -> str:
    taken = {model.name for model in models}
    name = served_name(checkpoint)
    return next(n for n in (name, *(f"{name}-{i}" for i in range(2, 1000))) if n not in taken)
