"""What the HTTP layer calls: pick a model, embed inputs, load and unload. Every method only awaits."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.core.types import Embedding, ImageInput, Modality, Output, TextInput
from app.engine.config import ModelConfig
from app.families.base import EmbeddingModel, ModelInfo


class ModelState(StrEnum):
    """Where a configured model is in its life."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    """The last load failed; the next request tries again."""
    STUCK = "stuck"
    """Its worker is dead or has computed one batch for too long."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A configured model and what is known of it now."""

    config: ModelConfig
    state: ModelState
    info: ModelInfo | None = None
    """None until it is loaded."""
    error: str | None = None
    """Why the last load failed."""


class Engine:
    """Owns the models, their workers and the thread pool that prepares inputs."""

    def models(self) -> list[ModelStatus]:
        """All configured models in the order of the models file."""
        raise NotImplementedError

    def pick(self, requested: str | None, *needs: tuple[Modality, Output], prefer: str = "") -> str:
        """Served name of the model for a request.

        `requested` is a served name or a checkpoint id (case ignored). Without it: the default text model if
        it can do what is needed, else the first model of the family `prefer` that can, else the first that can.
        Raises `ModelNotFoundError`, `UnsupportedTaskError`; both name the models to choose from.
        """
        raise NotImplementedError

    async def encode(self, name: str, items: Sequence[TextInput | ImageInput]) -> list[Embedding]:
        """Embed `items` with the model, loading it first if need be; result i belongs to item i.

        If one item is bad the call raises its error and the others are dropped. Cancelling the awaiting task
        drops what has not been computed yet. Raises `BadInputError`, `TooLargeError`, `UnavailableError`.
        """
        raise NotImplementedError

    async def model(self, name: str) -> EmbeddingModel:
        """The loaded model, for its `info` and `patch_grid`."""
        raise NotImplementedError

    async def load(self, name: str) -> ModelStatus:
        """Load now and wait until it is ready. Raises `ModelLoadError`."""
        raise NotImplementedError

    async def unload(self, name: str) -> ModelStatus:
        """Drain the model's queue, then free its memory. The next request loads it again."""
        raise NotImplementedError
