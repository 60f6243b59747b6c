"""Visual documents: patch grids, queries, pages."""

import asyncio
from typing import Annotated, Any

import numpy as np
from fastapi import File, Response

from app.api.defaults import MULTI_VECTOR, PAGES_AND_QUERIES, VISUAL_FAMILY
from app.api.encoding import TRUNCATION, json_response, required, truncated_indices
from app.api.limits import check_n_items, check_texts
from app.api.route import EngineDep, FormModelDep, SettingsDep, api_router
from app.api.schemas.common import UploadedFile
from app.api.schemas.visual import (
    EmbedQueriesRequest,
    ImageEmbeddings,
    ImageSize,
    PatchesRequest,
    PatchesResponse,
    QueryEmbeddings,
)
from app.api.uploads import read_images
from app.core.errors import BadInputError
from app.core.types import Embedding, Role, TextInput
from app.families.base import EmbeddingModel

router = api_router("visual documents")

MAX_SIDE = 1_000_000


@router.post(
    "/patches",
    summary="Patch grids of images of given sizes",
    response_model=PatchesResponse,
    response_model_exclude_none=True,
)
async def count_patches(body: PatchesRequest, engine: EngineDep, settings: SettingsDep) -> Response:
    check_n_items(len(body.dimensions), settings)
    model = await engine.model(engine.pick(body.model, PAGES_AND_QUERIES[0], prefer=VISUAL_FAMILY))
    results = await asyncio.to_thread(lambda: [_count_patches(model, size) for size in body.dimensions])
    return await json_response({"results": results})


@router.post("/embed/queries", summary="Embed search texts", response_model=QueryEmbeddings, responses=TRUNCATION)
async def embed_queries(body: EmbedQueriesRequest, engine: EngineDep, settings: SettingsDep) -> Response:
    if not body.queries:
        raise BadInputError("`queries` is empty; send at least one.")
    check_texts(body.queries, settings)
    name = engine.pick(body.model, *PAGES_AND_QUERIES, prefer=VISUAL_FAMILY)
    embeddings = await engine.encode(name, [TextInput(text, Role.QUERY, MULTI_VECTOR) for text in body.queries])
    rows = [required(embedding.multi_vector).vectors for embedding in embeddings]
    return await json_response({"embeddings": rows}, truncated_indices(embeddings))


@router.post("/embed/images", summary="Embed pages", response_model=ImageEmbeddings)
async def embed_images(
    files: Annotated[list[UploadedFile], File(description="One or more images.")],
    model: FormModelDep,
    engine: EngineDep,
    settings: SettingsDep,
) -> Response:
    check_n_items(len(files), settings)
    name = engine.pick(model, *PAGES_AND_QUERIES, prefer=VISUAL_FAMILY)
    embeddings = await engine.encode(name, await read_images(files))
    return await json_response({"embeddings": [_image_embedding(embedding) for embedding in embeddings]})


def _count_patches(model: EmbeddingModel, size: ImageSize) -> dict[str, Any]:
    result: dict[str, Any] = {"width": size.width, "height": size.height}
    if not (1 <= size.width <= MAX_SIDE and 1 <= size.height <= MAX_SIDE):
        return result | {"error": f"Width and height lie between 1 and {MAX_SIDE} pixels."}
    try:
        grid = model.patch_grid(size.width, size.height)
    except BadInputError as error:
        return result | {"error": error.message}
    return result | {"n_patches_x": grid.n_patches_x, "n_patches_y": grid.n_patches_y}


def _image_embedding(embedding: Embedding) -> dict[str, Any]:
    page = required(embedding.multi_vector)
    grid = required(page.grid)
    return {
        "embedding": page.vectors,
        "image_patch_start": page.start,
        "image_patch_len": grid.n_patches,
        "image_patch_indices": np.arange(page.start, page.start + grid.n_patches),
        "n_patches_x": grid.n_patches_x,
        "n_patches_y": grid.n_patches_y,
    }
