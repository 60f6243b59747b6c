"""Visual documents: patches, queries, pages."""

from typing import Annotated, Any, Self

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from app.api.schemas.common import Body, ModelChoice, OneOrMore, examples
from app.api.schemas.options import AnyRows, PixelLimits, TextRowOptions, Truncation


class ImageSize(Body):
    """Size of an image in pixels."""

    width: int
    height: int


class SentSize:
    """Sides as they were sent, None for what is no number. Whether they make a size is for each to be answered."""

    def __init__(self, width: float | None, height: float | None) -> None:
        self.width = width
        self.height = height

    @classmethod
    def parse(cls, value: Any) -> Self:
        """From an object. Raises `PydanticCustomError` for anything else."""
        if not isinstance(value, dict):
            raise PydanticCustomError("size", "Send an object with width and height")
        return cls(_number(value.get("width")), _number(value.get("height")))


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


class PatchesRequest(PixelLimits, ModelChoice):
    """Sizes of images that are about to be embedded."""

    model_config = examples({"dimensions": [{"width": 1024, "height": 768}, {"width": 512, "height": 512}]})

    dimensions: Annotated[
        list[Annotated[SentSize, PlainValidator(SentSize.parse, json_schema_input_type=ImageSize)]],
        Field(fail_fast=True),
    ]


class PatchCount(Body):
    """The grid of an image, or why there is none."""

    width: int | float | None = Field(description="As it was sent; null if that was no number.")
    height: int | float | None = Field(description="As it was sent; null if that was no number.")
    n_patches_x: int | None = Field(None, description="Columns. Absent if there is an error.")
    n_patches_y: int | None = Field(None, description="Rows. Absent if there is an error.")
    error: str | None = Field(None, description="Why this size cannot be used. Absent if it can.")


class PatchesResponse(Body):
    """One result for each size, in the order of the request."""

    results: list[PatchCount]


class EmbedQueriesRequest(TextRowOptions, Truncation, ModelChoice):
    """Search texts."""

    model_config = examples({"queries": ["Which square is red?", "revenue by quarter"]})

    queries: OneOrMore


class QueryEmbeddings(Body):
    """One matrix for each query: a row for each token that the model saw, padding excluded."""

    embeddings: list[AnyRows]


class ImageEmbedding(Body):
    """The rows of one page, and which of them are its patches."""

    embedding: AnyRows
    image_patch_start: int = Field(description="First row that is a patch, or a mean of patches if they were pooled.")
    image_patch_len: int = Field(description="Number of those rows: `n_patches_x * n_patches_y`.")
    image_patch_indices: list[int] = Field(description="Those rows: row-major from the top left.")
    n_patches_x: int = Field(description="Columns of patches, or of their means; 0 after hierarchical pooling.")
    n_patches_y: int = Field(description="Rows of patches, or of their means; 0 after hierarchical pooling.")
    file: int | None = Field(None, description="Of a PDF's page: which of `files`, counted from 0. Absent for images.")
    page: int | None = Field(None, description="Of a PDF's page: its number, counted from 1. Absent for images.")


class ImageEmbeddings(Body):
    """One embedding for each image and each page of a PDF, in the order of the request."""

    embeddings: list[ImageEmbedding]
