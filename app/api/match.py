"""A query laid over a page."""

from dataclasses import dataclass

from fastapi import UploadFile

from app.api.defaults import MULTI_VECTOR, PAGES_AND_QUERIES
from app.api.encoding import made, required
from app.api.limits import check_texts
from app.api.report import report
from app.api.schemas.pages import PageOptions
from app.api.uploads import Uploads
from app.core.errors import BadInputError, TooLargeError
from app.core.similarity import similarity_maps
from app.core.types import Embedding, FloatArray, ImageInput, PatchGrid, Role, TextInput
from app.engine.engine import Engine
from app.settings import Settings

MAX_QUERY_TOKENS = 1024
"""Each token brings a map of all patches; a query of a model's whole context would fill gigabytes."""

NO_WORDS = "`query` holds no words; write what to look for."


@dataclass(frozen=True, slots=True)
class Match:
    """How well each token of a query matches each patch of a page."""

    page: ImageInput
    width: int
    """Of the page, in pixels."""
    height: int
    grid: PatchGrid
    tokens: tuple[str, ...]
    """The tokenizer's pieces of the query; at least one."""
    maps: FloatArray
    """Cosine similarities [n_tokens, n_patches_y, n_patches_x]."""
    headers: dict[str, str]
    """What the answer is to say of its inputs."""


async def match_page(
    engine: Engine,
    settings: Settings,
    uploads: Uploads,
    file: UploadFile,
    query: str,
    model: str | None,
    options: PageOptions,
    default_family: str,
) -> Match:
    """Embed both with the same model and compare them.

    Raises `BadInputError` for a query without words, `TooLargeError` for one of more than `MAX_QUERY_TOKENS`.
    """
    check_texts([query], settings)
    # Tokenizers make tokens of white space too.
    if not query.strip():
        raise BadInputError(NO_WORDS)
    name = engine.pick(model, *PAGES_AND_QUERIES, prefer=default_family)
    page = await uploads.image(file, options.page, options.limits)
    inputs: list[TextInput | ImageInput] = [page, TextInput(query, Role.QUERY, MULTI_VECTOR, "query")]
    image, text = await engine.encode(name, inputs, interactive=True)
    tokens = required(text.multi_vector).tokens
    if not tokens:
        raise BadInputError(NO_WORDS)
    if len(tokens) > MAX_QUERY_TOKENS:
        raise TooLargeError(f"`query` has more than {MAX_QUERY_TOKENS} tokens; similarity maps are for search texts.")
    return Match(
        page=page,
        width=required(image.image_width),
        height=required(image.image_height),
        grid=required(required(image.multi_vector).grid),
        tokens=tokens,
        maps=await made(lambda: _maps(text, image)),
        headers=report([image, text], ["query"] if text.truncated else []),
    )


def _maps(text: Embedding, image: Embedding) -> FloatArray:
    patches = required(image.multi_vector)
    return similarity_maps(required(text.multi_vector).content, patches.content, required(patches.grid))
