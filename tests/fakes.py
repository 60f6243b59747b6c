"""A model that needs no weights and no torch: what it writes can be computed by hand.

Its vectors lie in a space of colours: the words red, green, blue and white point where patches of that colour do,
every other word has a direction of its own. So `red` finds the red part of a picture.
"""

import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from PIL import Image

from app.core.errors import BadInputError, OutOfMemoryError
from app.core.types import (
    NO_LIMITS,
    Embedding,
    FloatArray,
    ImageInput,
    ImageLimits,
    MultiVectorEmbedding,
    Output,
    PatchGrid,
    SparseEmbedding,
    TextInput,
)
from app.engine.config import ModelConfig
from app.engine.lane import PrepareThreads
from app.engine.metrics import EngineMetrics
from app.engine.model_runner import ModelRunner, RunnerLimits
from app.families.base import Checkpoint, EmbeddingModel, FamilySpec, LoadOptions, ModelInfo, Prepared
from app.families.catalog import CATALOG

DIM = 16
MAX_WORDS = 32
PATCH_PX = 16
MAX_PATCHES_A_SIDE = 24
COLORS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "white": (1, 1, 1)}
PREFIX, SUFFIX = "<s>", "</s>"


class FakeModel(EmbeddingModel):
    """Any family. The word `explode` is a bug in it, `memory` does not fit into it."""

    spec: ClassVar[FamilySpec] = CATALOG["colqwen2.5"]
    memory_bytes: int = 1 << 20

    def __init__(self, spec: FamilySpec, before_encode: Callable[[], None] = lambda: None) -> None:
        self.family = spec
        self.before_encode = before_encode
        self.info = ModelInfo(
            dim=DIM,
            max_tokens=MAX_WORDS + 2,
            device="cpu",
            dtype="float32",
            patch_size=PATCH_PX,
            spatial_merge_size=1,
            image_token_id=7,
        )

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        return cls(cls.spec)

    def prepare_text(self, item: TextInput) -> Prepared:
        words = item.text.split()
        if "nonsense" in words:
            raise BadInputError("The fake model does not read nonsense.")
        kept = words[:MAX_WORDS]
        inputs = {"words": kept, "role": item.role}
        return Prepared(inputs, len(kept) + 2, "text", item.outputs, truncated=len(words) > MAX_WORDS)

    def prepare_image(self, item: ImageInput, image: Image.Image) -> Prepared:
        size = (item.image_size, item.image_size) if item.image_size else image.size
        grid = self.patch_grid(*size, item.limits)
        pixels = image.resize((grid.n_patches_x, grid.n_patches_y), Image.Resampling.BOX)
        return Prepared({"pixels": np.asarray(pixels), "grid": grid}, grid.n_patches + 2, "image", item.outputs)

    def patch_grid(self, width: int, height: int, limits: ImageLimits = NO_LIMITS) -> PatchGrid:
        """Limits take columns off at the right."""
        if max(width, height) > 200 * min(width, height):
            raise BadInputError("The image is too narrow.")
        n_patches_x, n_patches_y = (min(max(1, side // PATCH_PX), MAX_PATCHES_A_SIDE) for side in (width, height))
        wanted = (limits.max_visual_tokens, limits.max_pixels and limits.max_pixels // PATCH_PX**2)
        n_patches = min((number for number in wanted if number is not None), default=n_patches_x * n_patches_y)
        if n_patches < n_patches_y:
            raise BadInputError("The fake model cannot read so little of an image.")
        return PatchGrid(min(n_patches_x, n_patches // n_patches_y), n_patches_y)

    def encode(self, batch: Sequence[Prepared]) -> list[Embedding]:
        self.before_encode()
        return [self._image(item) if item.batch_key == "image" else self._text(item) for item in batch]

    def _text(self, item: Prepared) -> Embedding:
        words, role = item.inputs["words"], item.inputs["role"]
        if "explode" in words:
            raise RuntimeError("secret /path at 0x7f")
        if "memory" in words:
            raise OutOfMemoryError("This does not fit into the device's memory.")
        rows = np.stack([word_vector(word) for word in (PREFIX, *words, SUFFIX)])
        if self.family.name == "bge-m3":
            # Its first row takes no part in late interaction.
            multi_vector = MultiVectorEmbedding(rows[1:], tuple(words), start=0)
        else:
            multi_vector = MultiVectorEmbedding(rows, tuple(words), start=1)
        return Embedding(
            n_tokens=item.n_tokens,
            truncated=item.truncated,
            dense=unit(rows.sum(axis=0) + word_vector(role)),
            sparse=sparse(words) if Output.SPARSE in item.outputs else None,
            multi_vector=multi_vector if Output.MULTI_VECTOR in item.outputs else None,
        )

    def _image(self, item: Prepared) -> Embedding:
        grid: PatchGrid = item.inputs["grid"]
        colors = item.inputs["pixels"].reshape(grid.n_patches, 3) / 255
        patches = np.stack([color_vector(color) for color in colors])
        rows = np.stack([word_vector(PREFIX), *patches, word_vector(SUFFIX)])
        return Embedding(
            n_tokens=item.n_tokens,
            dense=unit(patches.sum(axis=0)),
            multi_vector=MultiVectorEmbedding(rows, start=1, grid=grid),
        )


def unit(vector: FloatArray) -> FloatArray:
    length: FloatArray = (vector / np.linalg.norm(vector)).astype(np.float32)
    return length


def color_vector(color: Sequence[float] | FloatArray) -> FloatArray:
    """Black, which has no direction among the colours, gets one of its own."""
    return unit(np.array([*color, 0.01, *[0] * (DIM - 4)], dtype=np.float32))


def word_vector(word: str) -> FloatArray:
    """A unit vector that depends on the word alone: [DIM]."""
    if word in COLORS:
        return color_vector(COLORS[word])
    generator = np.random.default_rng(zlib.crc32(word.encode()))
    return unit(np.concatenate([np.zeros(4), generator.standard_normal(DIM - 4)]))


def sparse(words: Sequence[str]) -> SparseEmbedding:
    """An id for each spelling, but the text of an id is in lower case; weights fall with the position."""
    weights = {zlib.crc32(word.encode()): 1 / (1 + place) for place, word in reversed(list(enumerate(words)))}
    texts = {zlib.crc32(word.encode()): word.lower() for word in words}
    ids = sorted(weights)
    return SparseEmbedding(
        np.array(ids, dtype=np.int64),
        np.array([weights[i] for i in ids], dtype=np.float32),
        tuple(texts[i] for i in ids),
    )


class FakeLoader:
    """Puts a `FakeModel` into service under every configured name, except those in `broken`."""

    def __init__(self, broken: Exception | None = None) -> None:
        self.broken = broken
        self.models: dict[str, FakeModel] = {}
        self.encoding = threading.Event()
        """Set when a model starts to compute."""
        self.may_encode = threading.Event()
        """Cleared by a test that wants computing to last."""
        self.may_encode.set()
        self.may_load = threading.Event()
        """Cleared by a test that wants loading to last."""
        self.may_load.set()
        self._threads = PrepareThreads(2)

    def fetch(self, config: ModelConfig) -> Checkpoint:
        if self.broken is not None:
            raise self.broken
        return Checkpoint(Path())

    def load(self, config: ModelConfig, checkpoint: Checkpoint, metrics: EngineMetrics) -> ModelRunner:
        self.may_load.wait(timeout=60)
        model = self.models[config.name] = FakeModel(config.spec, self._before_encode)
        return ModelRunner(config.name, model, RunnerLimits(max_wait_ms=0), self._threads, metrics)

    def memory_needed(self, config: ModelConfig, checkpoint: Checkpoint) -> int:
        return 1 << 20

    def _before_encode(self) -> None:
        self.encoding.set()
        self.may_encode.wait(timeout=60)
