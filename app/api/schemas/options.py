"""What a request may ask of its vectors: how many numbers, how they are written, how many rows."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from app.api.schemas.common import Body, Rows, Vector
from app.core.errors import BadInputError
from app.core.pooling import Pooling
from app.core.quantization import DType
from app.core.types import ImageLimits


class EncodingFormat(StrEnum):
    """How JSON holds vectors."""

    FLOAT = "float"
    BASE64 = "base64"


def _absent_if_zero(number: int | None) -> int | None:
    if number is not None and number < 0:
        raise BadInputError("`dimensions`, `max_pixels` and `max_visual_tokens` are above 0; leave them out for all.")
    return number or None


Optional = Annotated[int | None, AfterValidator(_absent_if_zero)]
"""A number above 0; 0 and null leave the choice to the model."""


class VectorOptions(Body):
    """How vectors are cut, scaled and written."""

    encoding_format: EncodingFormat = Field(
        EncodingFormat.FLOAT,
        description="Of vectors in JSON: lists of numbers, or objects with their bytes in base64, dtype and shape. "
        "Ask for `application/x-npz` or `application/x-safetensors` in `Accept` to get the bytes as they are.",
    )
    dtype: DType = Field(
        DType.FLOAT32,
        description="`int8`: `values * scale` gives the numbers back, with a scale for each row; `ubinary`: the sign "
        "bits, packed into bytes as `numpy.packbits` does it.",
    )
    dimensions: Optional = Field(
        None, description="Keep this many numbers of each vector (Matryoshka). 0 or null: all of them."
    )
    normalize: bool | None = Field(
        None,
        description="Scale vectors to unit length. Default: those that were cut or averaged; the others stay as the "
        "model writes them, which is at unit length for all families but DINOv3.",
    )
    batch_size: int | None = Field(None, ge=1, description="A hint, accepted and not needed: the server batches.")


class Truncation(Body):
    """What happens to texts that are longer than the model's context."""

    truncate: bool = Field(
        True, description="Cut texts that are too long and name them in the header `X-Truncated`; false: answer 400."
    )


PoolFactor = Annotated[
    int,
    Field(
        ge=1,
        le=4096,
        description="`hierarchical`: keep one of so many rows; `grid`: side of the blocks, in patches.",
    ),
]


class TextRowOptions(VectorOptions):
    """The same, and fewer rows for texts with a vector for each token."""

    pooling: Literal[Pooling.NONE, Pooling.HIERARCHICAL] = Field(
        Pooling.NONE, description="`hierarchical`: means of clusters of all rows, as colpali-engine pools tokens."
    )
    pool_factor: PoolFactor = 2


class PageRowOptions(VectorOptions):
    """The same, and fewer rows for images with a vector for each patch."""

    pooling: Pooling = Field(
        Pooling.NONE,
        description="Means of the page's `rows` or `columns` of patches, or of square blocks (`grid`); rows that are "
        "no patches stay, and the patch fields count the means. `hierarchical`: means of clusters of all rows, as "
        "colpali-engine pools tokens; none is a patch any more. Applies to images only.",
    )
    pool_factor: PoolFactor = 2


class PixelLimits(Body):
    """How finely images are read."""

    max_pixels: Optional = Field(
        None, description="Scale larger images down to so many pixels. Never raises the model's own limit."
    )
    max_visual_tokens: Optional = Field(
        None,
        description="The same, counted in patches that get a vector. Models that read every image at one size refuse "
        "both.",
    )

    @property
    def limits(self) -> ImageLimits:
        return ImageLimits(self.max_pixels, self.max_visual_tokens)


class ImageOptions(PageRowOptions, PixelLimits):
    """All that a request may ask of images with a vector for each patch."""


class EncodedVectors(Body):
    """Vectors whose bytes come in base64, or that come with scales: `encoding_format=base64` or `dtype=int8`."""

    data: str | list[Any] = Field(
        description="Base64 of the little-endian numbers, row after row; with `encoding_format=float` lists of them."
    )
    dtype: Literal["float32", "float16", "int8", "uint8"] = Field(description="Of the numbers; `uint8` for `ubinary`.")
    shape: list[int] = Field(description="`[dim]` or `[n_rows, dim]`; of `ubinary` an eighth of `dim`, rounded up.")
    scales: list[float] | None = Field(
        None, description="Of `int8` only: one for each row. A number is its int8 times its row's scale."
    )


AnyVector = Vector | EncodedVectors
AnyRows = Rows | EncodedVectors
"""Lists of numbers unless the request asked for something else."""
