"""The contract between the engine and a model family. Imports neither torch nor transformers."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from app.core.errors import UnsupportedTaskError
from app.core.types import NO_LIMITS, Embedding, ImageInput, ImageLimits, Modality, Output, PatchGrid, TextInput
from app.families.shared_bases import SharedBases

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing a family can do, written `text:dense`, `image:multi_vector`, ..."""

    modality: Modality
    output: Output

    def __str__(self) -> str:
        return f"{self.modality}:{self.output}"


@dataclass(frozen=True, slots=True)
class FamilySpec:
    """What is known of a family before any of its models is loaded."""

    name: str
    implementation: str
    """`module:Class` of its `EmbeddingModel`, imported on first use."""
    capabilities: frozenset[Capability]
    name_pattern: str
    """Regular expression that finds the family in a checkpoint's name, case ignored."""
    model_types: frozenset[str]
    """`model_type` values in `config.json` that the family can load."""
    variable: str
    """Environment variable that replaces the family's checkpoint."""
    backends: frozenset[str] = frozenset({"torch"})
    """What can compute its models: `torch`, `onnxruntime`, `openvino`."""

    def can(self, modality: Modality, *outputs: Output) -> bool:
        """True if the family writes every one of `outputs` for inputs of `modality`."""
        return all(Capability(modality, output) in self.capabilities for output in outputs)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder in the Hugging Face format that has been checked: safetensors only, no Python files."""

    path: Path
    base: Path | None = None
    """The base model's folder when `path` holds a LoRA adapter."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to put a checkpoint into memory."""

    device: str = "cpu"
    """`cpu`, `cuda`, `cuda:1`, `mps`"""
    dtype: str = "float32"
    """`float32`, `bfloat16`, `float16`, `int8`"""
    backend: str = "auto"
    """`torch`, `onnxruntime`, `openvino`; auto: the fastest for the model on its device"""
    bases: SharedBases = field(default_factory=SharedBases, compare=False, repr=False)
    """What other models have in memory already. The default shares with none."""


class Padding(StrEnum):
    """How much of a batch is padded to its longest input."""

    NONE = "none"
    """A batch costs the sum of its tokens."""
    ATTENTION = "attention"
    """Attention alone: near-equal lengths go best together, but a token of padding costs little."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model once it is loaded."""

    dim: int
    """Width of its vectors, read from the weights."""
    max_tokens: int
    """Longest input in tokens; what is longer is truncated."""
    device: str
    dtype: str
    """In which it computes."""
    backend: str = "torch"
    """What computes: `torch`, `onnxruntime` or `openvino`"""
    attention: str = "sdpa"
    """How: `sdpa`, `flash_attention_2`, ..."""
    padding: Padding = Padding.ALL
    patch_size: int | None = None
    spatial_merge_size: int | None = None
    image_token_id: int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """One input ready for `encode`."""

    inputs: Mapping[str, Any]
    """The family's own: unpadded arrays or CPU tensors of this one input."""
    n_tokens: int
    """Cost: tokens that the model computes for it."""
    batch_key: Hashable = "text"
    """Only inputs with equal keys may share a batch."""
    outputs: frozenset[Output] = field(default_factory=frozenset)
    truncated: bool = False


class EmbeddingModel(ABC):
    """A loaded model of one family.

    `prepare_*` run in several threads at once, for a short text on the event loop, and must not change the model's
    state (a fast tokenizer's truncation and padding are such state). `encode` runs in several threads at once, for
    queries and for bulk work.
    """

    spec: ClassVar[FamilySpec]
    info: ModelInfo

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """Bytes that its weights and buffers take now on its device; those that several models share are counted with
        one of them. Called from any thread.
        """

    @classmethod
    @abstractmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        """Read the checkpoint into memory; called from one thread at a time.

        Raises `ModelLoadError` if it is not of this family or broken.
        """

    def prepare_text(self, item: TextInput) -> Prepared:
        """Tokenize one text. Longer texts than `info.max_tokens` are cut and marked as truncated."""
        raise UnsupportedTaskError(f"Models of the family {self.spec.name} do not read text.")

    def prepare_texts(self, items: Sequence[TextInput]) -> list[Prepared]:
        """Tokenize texts: in one call where the tokenizer can."""
        return [self.prepare_text(item) for item in items]

    def prepare_image(self, item: ImageInput, image: "Image.Image") -> Prepared:
        """Resize and normalize one decoded RGB image."""
        raise UnsupportedTaskError(f"Models of the family {self.spec.name} do not read images.")

    @abstractmethod
    def encode(self, batch: Sequence[Prepared]) -> list[Embedding]:
        """Embed inputs that share a `batch_key`; result i belongs to input i and does not depend on the others.

        Raises `OutOfMemoryError` when the batch does not fit; the caller splits it and tries again.
        """

    def patch_grid(self, width: int, height: int, limits: ImageLimits = NO_LIMITS) -> PatchGrid:
        """The grid for an image of that size in pixels, by the model's own processor.

        Raises `BadInputError`, also for limits that the model cannot keep.
        """
        raise UnsupportedTaskError(f"Models of the family {self.spec.name} have no patches.")

    def computing(self, *, urgent: bool) -> AbstractContextManager[Any]:
        """Around all that a thread encodes; where the device can tell, what is urgent goes first."""
        return nullcontext()

    def close(self) -> None:  # noqa: B027 - most families have nothing to do here
        """Free what the model holds. It is not used afterwards."""
