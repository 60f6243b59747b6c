"""Where a query matches on a page: scores, hotspots, heatmaps."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import File, Form, Response, UploadFile
from fastapi.responses import StreamingResponse

from app.api.encoding import TRUNCATION, json_response, required, truncation_headers
from app.api.limits import check_texts
from app.api.route import EngineDep, FormModelDep, SettingsDep, api_router
from app.api.schemas.common import FormText, UploadedFile
from app.api.schemas.similarity import InterpretResponse, QuerySingleResponse
from app.api.visual import MULTI_VECTOR, VISUAL, read_images
from app.api.zip_stream import zip_stream
from app.core.errors import BadInputError, TooLargeError
from app.core.heatmap import draw_heatmap
from app.core.images import decode_image
from app.core.similarity import hotspots, similarity_maps
from app.core.types import Embedding, FloatArray, ImageInput, PatchGrid, Role, TextInput
from app.engine.engine import Engine
from app.settings import Settings

router = api_router("similarity")

PREFERRED = "colpali"
MAX_HEATMAP_PIXELS = 500_000_000
"""Most pixels that one request may have drawn, over all its heatmaps."""

PageFile = Annotated[UploadedFile, File(description="An image.")]
QueryText = Annotated[FormText, Form(description="A search text.", examples=["red square"])]

HEATMAP_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One token: a PNG of the page's size. All: `heatmaps.zip` with `heatmap_0.png`, "
        "`heatmap_1.png`, ... in the order of the tokens.",
        "content": {
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
        },
        "headers": TRUNCATION[200]["headers"],
    }
}


@dataclass(frozen=True, slots=True)
class Match:
    """A query laid over a page."""

    page: ImageInput
    width: int
    height: int
    grid: PatchGrid
    tokens: tuple[str, ...]
    maps: FloatArray
    """Cosine similarities [n_tokens, n_patches_y, n_patches_x]."""
    truncated: tuple[str, ...]
    """Names what was cut, for the header."""


@router.post(
    "/interpret",
    summary="Similarity maps of a query's tokens",
    response_model=InterpretResponse,
    responses=TRUNCATION,
)
async def interpret(
    file: PageFile, query: QueryText, model: FormModelDep, engine: EngineDep, settings: SettingsDep
) -> Response:
    match = await _match(engine, settings, file, query, engine.pick(model, *VISUAL, prefer="colqwen2.5"))
    content = {
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
    return await json_response(content, match.truncated)


@router.post(
    "/query/single",
    summary="How well a query matches a page, token by token",
    response_model=QuerySingleResponse,
    responses=TRUNCATION,
)
async def query_single(
    file: PageFile, query: QueryText, model: FormModelDep, engine: EngineDep, settings: SettingsDep
) -> Response:
    match = await _match(engine, settings, file, query, engine.pick(model, *VISUAL, prefer=PREFERRED))
    names = unique_names(match.tokens)
    content = {
        "query": query,
        "overall_similarity": match.maps.max(axis=(1, 2)).mean(),
        "tokens": {name: _token_similarity(index, match.maps[index]) for index, name in enumerate(names)},
        "token_list": names,
    }
    return await json_response(content, match.truncated)


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
    engine: EngineDep,
    settings: SettingsDep,
    token_idx: Annotated[int | None, Form(description="One token by its place; default: all in a ZIP.")] = None,
) -> Response:
    match = await _match(engine, settings, file, query, engine.pick(model, *VISUAL, prefer=PREFERRED))
    headers = truncation_headers(match.truncated)
    if token_idx is not None:
        if not 0 <= token_idx < len(match.tokens):
            raise BadInputError(f"`token_idx` lies between 0 and {len(match.tokens) - 1} for this query.")
        png = await asyncio.to_thread(lambda: next(_heatmaps(match, settings, [token_idx])))
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


async def _match(engine: Engine, settings: Settings, file: UploadFile, query: str, name: str) -> Match:
    check_texts([query], settings)
    (page,) = await read_images([file])
    image, text = await engine.encode(name, [page, TextInput(query, Role.QUERY, MULTI_VECTOR)])
    tokens = required(text.multi_vector).tokens
    if not tokens:
        raise BadInputError("`query` holds no words; write what to look for.")
    grid = required(required(image.multi_vector).grid)
    maps = await asyncio.to_thread(_similarity_maps, text, image)
    return Match(
        page=page,
        width=required(image.image_width),
        height=required(image.image_height),
        grid=grid,
        tokens=tokens,
        maps=maps,
        truncated=("query",) if text.truncated else (),
    )


def _similarity_maps(text: Embedding, image: Embedding) -> FloatArray:
    patches = required(image.multi_vector)
    return similarity_maps(required(text.multi_vector).content, patches.content, required(patches.grid))


def _token_similarity(index: int, similarity_map: FloatArray) -> dict[str, Any]:
    return {
        "token_idx": index,
        "max_similarity_score": similarity_map.max(),
        "avg_similarity_score": similarity_map.mean(),
        "hotspots": hotspots(similarity_map),
    }


def _heatmaps(match: Match, settings: Settings, indices: Sequence[int]) -> Iterator[bytes]:
    """PNGs of these tokens, drawn one by one as they are asked for."""
    image = decode_image(match.page.data, match.page.label, int(settings.max_image_megapixels * 1_000_000))
    for index in indices:
        similarity_map = match.maps[index]
        yield draw_heatmap(image, similarity_map, f"{match.tokens[index]}  {similarity_map.max():.3f}")
