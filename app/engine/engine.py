"""What the HTTP layer calls: pick a model, embed inputs, load and unload.

Every method only awaits, but for the 0.1 ms in which a short text is tokenized.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager

from app.core.errors import ModelNotFoundError, UnsupportedTaskError
from app.core.trace import note_model
from app.core.types import Embedding, ImageInput, Modality, Output, TextInput
from app.engine.config import ModelConfig
from app.engine.daemon import in_daemon_thread
from app.engine.lane import PrepareThreads
from app.engine.loader import resolve_device
from app.engine.metrics import EngineMetrics
from app.engine.model_runner import MAX_QUERIES, ModelRunner, ModelUsage
from app.engine.registry import ModelRegistry, ModelState, ModelStatus
from app.families.base import EmbeddingModel

__all__ = ["Engine", "ModelState", "ModelStatus", "ModelUsage"]


class Engine:
    """The models, and the thread pool that prepares their inputs."""

    def __init__(
        self,
        registry: ModelRegistry,
        threads: PrepareThreads,
        metrics: EngineMetrics,
        *,
        device: str = "auto",
        default_text: str | None = None,
        bulk_answers: Executor | None = None,
    ) -> None:
        """`bulk_answers`: threads for `answer_threads`."""
        self._registry = registry
        self._threads = threads
        self._metrics = metrics
        self._device = device
        self._device_found: asyncio.Future[str] | None = None
        self._default_text = default_text
        self._bulk_answers = bulk_answers

    async def device(self) -> str:
        """The device that models load on unless the models file says otherwise: `cpu`, `cuda:0`, ..."""
        if self._device_found is None:
            self._device_found = asyncio.ensure_future(in_daemon_thread(lambda: resolve_device(self._device)))
        return await asyncio.shield(self._device_found)

    def models(self) -> list[ModelStatus]:
        """All configured models in the order of the models file."""
        return self._registry.statuses()

    def status(self, name: str) -> ModelStatus:
        """Of one model. Raises `ModelNotFoundError`."""
        return self._registry.status(name)

    def usages(self) -> dict[str, ModelUsage]:
        """What each model holds that has anything in memory, by served name."""
        return self._registry.usages()

    def pick(self, requested: str | None, *needs: tuple[Modality, Output], prefer: str = "") -> str:
        """Served name of the model for a request.

        `requested` is a served name or a checkpoint id (case ignored). Without it: the default text model if
        it can do what is needed, else the first trained model that can, of the family `prefer` if possible, else an
        untrained one.
        Raises `ModelNotFoundError`, `UnsupportedTaskError`; both name the models to choose from.
        """
        configs = self._registry.configs()
        able = [config for config in configs if all(config.spec.can(*need) for need in needs)]
        if requested:
            return _requested(requested, configs, able)
        if not able:
            raise UnsupportedTaskError("No model served here can do this; the models file lists those that are.")
        wishes = (
            [c for c in able if c.name == self._default_text],
            [c for c in able if c.trained and c.family == prefer],
            [c for c in able if c.trained],
            [c for c in able if c.family == prefer],
            able,
        )
        return next(wish[0].name for wish in wishes if wish)

    async def encode(
        self, name: str, items: Sequence[TextInput | ImageInput], *, interactive: bool = False
    ) -> list[Embedding]:
        """Embed `items` with the model, loading it first if need be; result i belongs to item i.

        `interactive`: somebody waits for the answer, so that pages and documents overtake others that wait.
        If one item is bad the call raises its error and the others are dropped. Cancelling the awaiting task
        drops what has not been computed yet. Raises `BadInputError`, `TooLargeError`, `UnavailableError`.
        """
        async with self.use(name) as runner:
            return await runner.encode(items, interactive=interactive)

    def answer_threads(self, n_inputs: int) -> Executor | None:
        """Where to make the answer of so many inputs; None: in asyncio's own threads.

        A search's answer would wait behind those of an ingest, which take seconds if they are pooled.
        """
        return self._bulk_answers if n_inputs > MAX_QUERIES else None

    async def model(self, name: str) -> EmbeddingModel:
        """The loaded model, for its `info` and `patch_grid`."""
        async with self.use(name) as runner:
            return runner.model

    async def load(self, name: str) -> ModelStatus:
        """Load now and wait until it is ready. Raises `ModelLoadError`."""
        with self._metrics.counting_errors(name):
            return await self._registry.load(name)

    async def unload(self, name: str) -> ModelStatus:
        """Drain the model's queue, then free its memory. The next request loads it again."""
        return await self._registry.unload(name)

    def put(self, config: ModelConfig) -> None:
        """Serve this model from now on, in place of another of its name."""
        self._registry.put(config)

    async def remove(self, name: str) -> None:
        """Serve the model no more, and free it when its requests are answered."""
        await self._registry.remove(name)

    def preload(self, names: Sequence[str]) -> asyncio.Future[list[ModelStatus | BaseException]]:
        """Begin to load these models, which `models()` shows at once; one that fails shows its error there."""
        for name in names:
            self._registry.begin(name)
        return asyncio.gather(*(self.load(name) for name in names), return_exceptions=True)

    async def close(self) -> None:
        """Finish what was accepted, then free everything."""
        await self._registry.close()
        self._threads.close()

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[ModelRunner]:
        """The model, loaded, for several calls of `encode` that have to be answered by the same weights.

        Raises as `encode` does.
        """
        with self._metrics.counting_errors(name):
            async with self._registry.use(name) as runner:
                note_model(name)
                yield runner


def _requested(requested: str, configs: Sequence[ModelConfig], able: Sequence[ModelConfig]) -> str:
    chosen = next((c for c in configs if requested.lower() in (c.name, c.checkpoint.lower())), None)
    if chosen is None:
        raise ModelNotFoundError("No such model. Models served here: " + ", ".join(c.name for c in configs) + ".")
    if chosen not in able:
        names = ", ".join(config.name for config in able) or "none of those served here"
        raise UnsupportedTaskError(f"The model {chosen.name} cannot do this. Models that can: {names}.")
    return chosen.name
