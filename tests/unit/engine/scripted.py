"""A model that does what a test tells it to."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Self

import numpy as np

from app.core.types import Embedding, ImageInput, Output, TextInput
from app.engine.batcher import Batcher
from app.engine.job import Job
from app.families.base import Checkpoint, EmbeddingModel, FamilySpec, LoadOptions, ModelInfo, Prepared
from app.families.catalog import CATALOG

Encode = Callable[[list[str]], None]
"""Called with a batch's texts before it is answered; raises to make the batch fail."""


INFO = ModelInfo(dim=1, max_tokens=512, device="cpu", dtype="float32")


class ScriptedModel(EmbeddingModel):
    """Embeds a text as its length; remembers the batches it was given."""

    spec: ClassVar[FamilySpec] = CATALOG["e5"]
    memory_bytes: int = 0

    def __init__(self, script: Encode = lambda texts: None, memory_bytes: int = 0) -> None:
        self.info = INFO
        self.memory_bytes = memory_bytes
        self.batches: list[list[str]] = []
        self.closed = False
        self._script = script

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        return cls()

    def prepare_text(self, item: TextInput) -> Prepared:
        return prepared(item.text, item.outputs)

    def prepare_image(self, item: ImageInput, image: object) -> Prepared:
        return prepared(item.label)

    def encode(self, batch: Sequence[Prepared]) -> list[Embedding]:
        texts = [p.inputs["text"] for p in batch]
        self.batches.append(texts)
        self._script(texts)
        return [Embedding(n_tokens=len(text), dense=np.array([len(text)], np.float32)) for text in texts]

    def close(self) -> None:
        self.closed = True


def prepared(text: str, outputs: frozenset[Output] = frozenset()) -> Prepared:
    return Prepared(inputs={"text": text}, n_tokens=max(1, len(text)), outputs=outputs)


def submitted(batcher: Batcher, *inputs: Prepared, interactive: bool = False) -> Job:
    """A job of these inputs in the batcher's queue."""
    job = Job(len(inputs), interactive=interactive)
    batcher.expect(job)
    batcher.submit(job, inputs)
    return job
