"""Visual documents: patch grids, queries, pages."""

from contextlib import aclosing
from typing import Annotated, Any, TypeGuard

import numpy as np
from fastapi import File, Response

from app.api.ahead import one_ahead
from app.api.defaults import MULTI_VECTOR, PAGES_AND_QUERIES, VISUAL_FAMILY
from app.api.encoding import EMBEDDINGS, json_response, required, respond
from app.api.forms import ImageOptionsDep
from app.api.limits import check_dimensions, check_n_items, check_texts, check_whole
from app.api.negotiation import MediaTypeDep
from app.api.report import report, truncated_indices
from app.api.route import EngineDep, FormModelDep, SettingsDep, api_router
from app.api.schemas.common import UploadedFile
from app.api.schemas.options import ImageOptions
from app.api.schemas.visual import (
    EmbedQueriesRequest,
    ImageEmbeddings,
    PatchesRequest,
    PatchesResponse,
    QueryEmbeddings,
    SentSize,
)
from app.api.uploads import UploadsDep
from app.api.vectors import finished_rows, rows
from app.core.errors import BadInputError
from app.core.quantization import stored
from app.core.types import Embedding, ImageLimits, Role, TextInput
from app.families.base import EmbeddingModel

router = api_router("visual documents")

MAX_SIDE = 1_000_000


@router.post("/patches", summary="Patch grids of images of given sizes", response_model=PatchesResponse)
async def count_patches(body: PatchesRequest, engine: EngineDep, settings: SettingsDep) -> Response:
    check_n_items(len(body.dimensions), settings)
    model = await engine.model(engine.pick(body.model, PAGES_AND_QUERIES[0], prefer=VISUAL_FAMILY))
    return await json_response(
        lambda: {"results": [_count_patches(model, size, body.limits) for size in body.dimensions]}
    )


@router.post("/embed/queries", summary="Embed search texts", response_model=QueryEmbeddings, responses=EMBEDDINGS)
async def embed_queries(
    body: EmbedQueriesRequest, media_type: MediaTypeDep, engine: EngineDep, settings: SettingsDep
) -> Response:
    if not body.queries:
        raise BadInputError("`queries` is empty; send at least one.")
    check_texts(body.queries, settings)
    name = engine.pick(body.model, *PAGES_AND_QUERIES, prefer=VISUAL_FAMILY)
    await check_dimensions(engine, name, body.dimensions)
    inputs = [TextInput(text, Role.QUERY, MULTI_VECTOR, f"queries[{i}]") for i, text in enumerate(body.queries)]
    embeddings = await engine.encode(name, inputs)
    if not body.truncate:
        check_whole(inputs, embeddings)

    def content() -> dict[str, Any]:
        return {"embeddings": [rows(required(embedding.multi_vector), body) for embedding in embeddings]}

    headers = report(embeddings, truncated_indices(embeddings))
    threads = engine.answer_threads(len(inputs))
    return await respond(content, media_type, body.encoding_format, headers, threads=threads)


@router.post("/embed/images", summary="Embed pages", response_model=ImageEmbeddings, responses=EMBEDDINGS)
async def embed_images(
    files: Annotated[list[UploadedFile], File(description="One or more images and PDFs.")],
    model: FormModelDep,
    options: ImageOptionsDep,
    media_type: MediaTypeDep,
    uploads: UploadsDep,
    engine: EngineDep,
) -> Response:
    """A PDF brings a result a page. Each option may also come as a field of the form; the query parameter wins."""
    name = engine.pick(model, *PAGES_AND_QUERIES, prefer=VISUAL_FAMILY)
    await check_dimensions(engine, name, options.dimensions)
    embeddings: list[Embedding] = []
    places: list[dict[str, int]] = []
    async with aclosing(one_ahead(uploads.groups(files, options.limits))) as groups:
        async for group in groups:
            embeddings += await engine.encode(name, [image.input for image in group])
            places += [image.place for image in group]

    def content() -> dict[str, Any]:
        pages = zip(embeddings, places, strict=True)
        return {"embeddings": [_image_embedding(embedding, options) | place for embedding, place in pages]}

    threads = engine.answer_threads(len(embeddings))
    return await respond(content, media_type, options.encoding_format, report(embeddings), threads=threads)


def _count_patches(model: EmbeddingModel, size: SentSize, limits: ImageLimits) -> dict[str, Any]:
    result: dict[str, Any] = {"width": size.width, "height": size.height}
    if not (_is_side(size.width) and _is_side(size.height)):
        return result | {"error": f"Width and height are whole numbers of pixels between 1 and {MAX_SIDE}."}
    try:
        grid = model.patch_grid(int(size.width), int(size.height), limits)
    except BadInputError as error:
        return result | {"error": error.message}
    return result | {"n_patches_x": grid.n_patches_x, "n_patches_y": grid.n_patches_y}


def _is_side(number: float | None) -> TypeGuard[float]:
    return number is not None and 1 <= number <= MAX_SIDE and float(number).is_integer()


def _image_embedding(embedding: Embedding, options: ImageOptions) -> dict[str, Any]:
    page = finished_rows(required(embedding.multi_vector), options)
    grid = required(page.grid)
    return {
        "embedding": stored(page.vectors, options.dtype),
        "image_patch_start": page.start,
        "image_patch_len": grid.n_patches,
        "image_patch_indices": np.arange(page.start, page.start + grid.n_patches),
        "n_patches_x": grid.n_patches_x,
        "n_patches_y": grid.n_patches_y,
    }
