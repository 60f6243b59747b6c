"""The engine as training sees it, from threads beside its event loop."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from app.core.errors import ModelNotFoundError, UnavailableError
from app.engine.config import ModelConfig
from app.engine.engine import Engine
from app.families.base import Checkpoint
from app.training.published import computed_like

ANSWER_S = 60.0
"""How long the event loop may take: longer than the requests that a model is taken from."""


class EngineServing:
    """Implements `Serving`. Its methods must not be called from the event loop's own thread."""

    def __init__(
        self,
        engine: Engine,
        fetch: Callable[[ModelConfig], Checkpoint],
        loop: asyncio.AbstractEventLoop,
        originals: Sequence[ModelConfig] = (),
    ) -> None:
        """`originals` are the models file's, whose names a fine-tuned model may take for its time."""
        self._engine = engine
        self._originals = {config.name: config for config in originals}
        self.fetch = fetch
        self._loop = loop

    def config(self, name: str) -> ModelConfig:
        configs = {status.config.name: status.config for status in self._engine.models()}
        if name not in configs:
            raise ModelNotFoundError("No such model. Models served here: " + ", ".join(configs) + ".")
        return configs[name]

    def configs(self) -> list[ModelConfig]:
        return [status.config for status in self._engine.models()]

    def put(self, config: ModelConfig) -> None:
        served = computed_like([*self._originals.values(), *self.configs()], config)

        async def put() -> None:
            self._engine.put(served)

        self._in_loop(put())

    def remove(self, name: str) -> None:
        try:
            self._in_loop(self._engine.remove(name))
        finally:
            # Also if requests still use it: it takes no new ones.
            if name in self._originals:
                self.put(self._originals[name])

    def _in_loop(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_S)
        except TimeoutError:
            raise UnavailableError("The server is too busy to change its models now; try again.") from None
