"""What goes into a model and what comes out of it."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


class Modality(StrEnum):
    """What kind of input a model reads."""

    TEXT = "text"
    IMAGE = "image"


class Output(StrEnum):
    """What kind of vector a model writes."""

    DENSE = "dense"
    SPARSE = "sparse"
    MULTI_VECTOR = "multi_vector"


class Role(StrEnum):
    """Which side of a search a text is on; families add prefixes or suffixes by it."""

    QUERY = "query"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """The grid that a model divides an image into: columns and rows of visual tokens."""

    n_patches_x: int
    n_patches_y: int

    @property
    def n_patches(self) -> int:
        return self.n_patches_x * self.n_patches_y


@dataclass(frozen=True, slots=True)
class TextInput:
    """One text to embed, and which vectors of it are wanted."""

    text: str
    role: Role = Role.QUERY
    outputs: frozenset[Output] = frozenset({Output.DENSE})
    label: str = "text"
    """How error messages name it, e.g. `candidates[2]`."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """How much of an image a request wants to have read at most; None: as much as the model allows."""

    max_pixels: int | None = None
    """Of the resized image."""
    max_visual_tokens: int | None = None
    """Patches that the model writes a vector for."""


NO_LIMITS = ImageLimits()


@dataclass(frozen=True, slots=True)
class ImageInput:
    """One encoded image file (PNG, JPEG, ...) to embed, and which vectors of it are wanted."""

    data: bytes
    """The file's bytes, not yet decoded."""
    label: str = "image"
    """How error messages name it, e.g. `file 2`."""
    outputs: frozenset[Output] = frozenset({Output.MULTI_VECTOR})
    image_size: int | None = None
    """Side in pixels of the square to resize to, for families that allow it; None: the family's own rule."""
    limits: ImageLimits = NO_LIMITS
    """They never raise a limit of the model's own."""


@dataclass(frozen=True, slots=True)
class SparseEmbedding:
    """Weights of vocabulary ids: `token_ids` [n] int64, ascending and unique; `weights` [n], positive."""

    token_ids: IntArray
    weights: FloatArray
    tokens: tuple[str, ...]
    """Text of each id, in the same order."""


@dataclass(frozen=True, slots=True)
class MultiVectorEmbedding:
    """One vector a token.

    `vectors` [n_tokens, dim] holds a row for each token that the model saw, prefix and suffix included,
    padding excluded.
    """

    vectors: FloatArray
    tokens: tuple[str, ...] = ()
    """The tokenizer's pieces of the user's own text; `vectors[start : start + len(tokens)]` are their rows."""
    start: int = 0
    """First row of the user's own content: of its text tokens, or of its image patches."""
    grid: PatchGrid | None = None
    """Of an image: rows `start : start + grid.n_patches` are its patches, row-major."""

    @property
    def content(self) -> FloatArray:
        """Rows of the user's own text tokens or image patches only: [n_content, dim]."""
        n = self.grid.n_patches if self.grid is not None else len(self.tokens)
        return self.vectors[self.start : self.start + n]


@dataclass(frozen=True, slots=True)
class Embedding:
    """Everything a model said about one input; an output that was not asked for is None."""

    n_tokens: int
    """Tokens that the model read, prefix and suffix included."""
    truncated: bool = False
    """True when the input was longer than the model's context and its end was cut off."""
    dense: FloatArray | None = None
    """[dim]"""
    sparse: SparseEmbedding | None = None
    multi_vector: MultiVectorEmbedding | None = None
    image_width: int | None = None
    """Of an image: the size of the uploaded picture in pixels, after its EXIF orientation is applied."""
    image_height: int | None = None
