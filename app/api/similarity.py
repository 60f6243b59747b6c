"""Where a query matches on a page: scores, hotspots, heatmaps."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import File, Form, Response
from fastapi.responses import StreamingResponse

from app.api.defaults import SIMILARITY_FAMILY, VISUAL_FAMILY
from app.api.encoding import json_response, made
from app.api.forms import PageOptionsDep
from app.api.match import Match, match_page
from app.api.report import REPORT, REPORT_HEADERS
from app.api.route import EngineDep, FormModelDep, SettingsDep, api_router
from app.api.schemas.common import FormText, UploadedFile
from app.api.schemas.similarity import InterpretResponse, QuerySingleResponse
from app.api.uploads import UploadsDep
from app.api.zip_stream import zip_stream
from app.core.errors import BadInputError, TooLargeError
from app.core.heatmap import draw_heatmap
from app.core.images import decode_image
from app.core.similarity import hotspots
from app.core.types import FloatArray
from app.settings import Settings

router = api_router("similarity")

MAX_HEATMAP_PIXELS = 500_000_000
"""Most pixels that one request may have drawn, over all its heatmaps."""

PageFile = Annotated[UploadedFile, File(description="An image, or a PDF of which one `page` is taken.")]
QueryText = Annotated[FormText, Form(description="A search text.", examples=["red square"])]

HEATMAP_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One token: a PNG of the page's size. All: `heatmaps.zip` with `heatmap_0.png`, "
        "`heatmap_1.png`, ... in the order of the tokens.",
        "content": {
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
        },
        "headers": REPORT_HEADERS,
    }
}


@router.post(
    "/interpret",
    summary="Similarity maps of a query's tokens",
    response_model=InterpretResponse,
    responses=REPORT,
)
async def interpret(
    file: PageFile,
    query: QueryText,
    model: FormModelDep,
    options: PageOptionsDep,
    uploads: UploadsDep,
    engine: EngineDep,
    settings: SettingsDep,
) -> Response:
    match = await match_page(engine, settings, uploads, file, query, model, options, VISUAL_FAMILY)

    def content() -> dict[str, Any]:
        return {
            "query": query,
            "tokens": match.tokens,
            "similarity_maps": [
                # Column first, as colpali-engine and the clients of this route have it.
                {"token": token, "token_index": index, "similarity_map": match.maps[index].T}
                for index, token in enumerate(match.tokens)
            ],
            "n_patches_x": match.grid.n_patches_x,
            "n_patches_y": match.grid.n_patches_y,
            "image_width": match.width,
            "image_height": match.height,
        }

    return await json_response(content, match.headers)


@router.post(
    "/query/single",
    summary="How well a query matches a page, token by token",
    response_model=QuerySingleResponse,
    responses=REPORT,
)
async def query_single(
    file: PageFile,
    query: QueryText,
    model: FormModelDep,
    options: PageOptionsDep,
    uploads: UploadsDep,
    engine: EngineDep,
    settings: SettingsDep,
) -> Response:
    match = await match_page(engine, settings, uploads, file, query, model, options, SIMILARITY_FAMILY)
    names = unique_names(match.tokens)

    def content() -> dict[str, Any]:
        return {
            "query": query,
            "overall_similarity": match.maps.max(axis=(1, 2)).mean(),
            "tokens": {name: _token_similarity(index, match.maps[index]) for index, name in enumerate(names)},
            "token_list": names,
        }

    return await json_response(content, match.headers)


@router.post(
    "/query/single/heatmap",
    summary="The page with a token's similarity map over it, or all tokens' in a ZIP",
    response_class=Response,
    responses=HEATMAP_RESPONSES,
)
async def query_single_heatmap(
    file: PageFile,
    query: QueryText,
    model: FormModelDep,
    options: PageOptionsDep,
    uploads: UploadsDep,
    engine: EngineDep,
    settings: SettingsDep,
    token_idx: Annotated[int | None, Form(description="One token by its place; default: all in a ZIP.")] = None,
) -> Response:
    match = await match_page(engine, settings, uploads, file, query, model, options, SIMILARITY_FAMILY)
    headers = dict(match.headers)
    if token_idx is not None:
        if not 0 <= token_idx < len(match.tokens):
            raise BadInputError(f"`token_idx` lies between 0 and {len(match.tokens) - 1} for this query.")
        png = await made(lambda: next(_heatmaps(match, settings, [token_idx])))
        return Response(png, headers=headers, media_type="image/png")
    if match.width * match.height * len(match.tokens) > MAX_HEATMAP_PIXELS:
        raise TooLargeError("So many heatmaps of so large a page are too much at once; ask for each by `token_idx`.")
    pngs = _heatmaps(match, settings, range(len(match.tokens)))
    members = ((f"heatmap_{index}.png", png) for index, png in enumerate(pngs))
    headers["Content-Disposition"] = 'attachment; filename="heatmaps.zip"'
    # Starlette draws the next one in a thread when the client has taken the last.
    return StreamingResponse(zip_stream(members), headers=headers, media_type="application/zip")


def unique_names(tokens: Sequence[str]) -> list[str]:
    """The tokens; one that occurs again becomes `token#2`, `token#3`, ... Names that are tokens too are left out."""
    names: list[str] = []
    taken = set(tokens)
    counts: dict[str, int] = {}
    for token in tokens:
        counts[token] = counts.get(token, 0) + 1
        name = token
        while counts[token] > 1 and (name := f"{token}#{counts[token]}") in taken:
            counts[token] += 1
        taken.add(name)
        names.append(name)
    return names


def _token_similarity(index: int, similarity_map: FloatArray) -> dict[str, Any]:
    return {
        "token_idx": index,
        "max_similarity_score": similarity_map.max(),
        "avg_similarity_score": similarity_map.mean(),
        # In float32, as the other scores are, so that the highest is written alike in both places.
        "hotspots": [{"x": spot.x, "y": spot.y, "score": np.float32(spot.score)} for spot in hotspots(similarity_map)],
    }


def _heatmaps(match: Match, settings: Settings, indices: Sequence[int]) -> Iterator[bytes]:
    """PNGs of these tokens, drawn one by one as they are asked for."""
    image = decode_image(match.page.data, match.page.label, settings.max_image_pixels)
    for index in indices:
        similarity_map = match.maps[index]
        yield draw_heatmap(image, similarity_map, f"{match.tokens[index]}  {similarity_map.max():.3f}")
