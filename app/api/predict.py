"""`POST /predict` and `POST /`: the Hugging Face inference endpoint of ColQwen2, and DINOv3's image features."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import Body, Response
from starlette.requests import HTTPConnection

from app.api.defaults import ENDPOINT_FAMILY, FEATURES_FAMILY, MULTI_VECTOR, PAGES_AND_QUERIES
from app.api.encoding import EMBEDDINGS, made, required, respond
from app.api.errors import ERROR_RESPONSES
from app.api.limits import check_n_items, check_texts, check_whole
from app.api.negotiation import MediaType, MediaTypeDep
from app.api.report import report, truncated_indices
from app.api.route import ApiRoute, EngineDep, JsonRequest, SettingsDep, api_router
from app.api.schemas.options import ImageOptions
from app.api.schemas.predict import (
    EXAMPLES,
    EndpointInputs,
    EndpointRequest,
    ImageFeaturesRequest,
    PredictError,
    PredictRequest,
    PredictResponse,
    is_for_features,
)
from app.api.vectors import dense, finished, finished_rows, rows
from app.core.base64_images import decode_base64_image_bytes
from app.core.errors import BadInputError
from app.core.maxsim import maxsim_matrix
from app.core.quantization import StoredVectors, stored
from app.core.types import (
    NO_LIMITS,
    Embedding,
    FloatArray,
    ImageInput,
    ImageLimits,
    Modality,
    MultiVectorEmbedding,
    Output,
    Role,
    TextInput,
)
from app.engine.engine import Engine
from app.settings import Settings

FEATURES = {"cls_token": Output.DENSE, "patch_features": Output.MULTI_VECTOR}
"""Image features by the names that clients give them."""


class PredictJson(JsonRequest):
    """Once the body is read, it is clear which service's client is to be answered."""

    async def json(self) -> Any:
        body = await super().json()
        self.state.error_keys = ("detail",) if is_for_features(body) else ("error",)
        return body


class PredictRoute(ApiRoute):
    """Its errors are `{"detail": message}` for image features, else `{"error": message}`; both until it is clear."""

    request_class = PredictJson

    def greet(self, request: HTTPConnection) -> None:
        request.state.error_keys = ("error", "detail")


router = api_router("predict", PredictRoute)

RESPONSES = EMBEDDINGS | {status: response | {"model": PredictError} for status, response in ERROR_RESPONSES.items()}


@dataclass(frozen=True, slots=True)
class Embedded:
    """Images and texts of a request, finished as it wants them."""

    images: list[FloatArray]
    """Rows [n_rows, dim] of each."""
    texts: list[FloatArray]
    headers: dict[str, str]


@router.post(
    "/predict",
    summary="Images and texts with their scores, or features of images",
    response_model=PredictResponse,
    responses=RESPONSES,
)
@router.post(
    "/",
    name="predict_at_root",
    summary="The same as /predict",
    response_model=PredictResponse,
    responses=RESPONSES,
)
async def predict(
    body: Annotated[PredictRequest, Body(openapi_examples=EXAMPLES)],
    media_type: MediaTypeDep,
    engine: EngineDep,
    settings: SettingsDep,
) -> Response:
    """Two requests that the fields tell apart.

    `image` and `text`, at the top or inside `inputs`: rows of every image and text, and the MaxSim score of each pair
    (default model: ColQwen2). `image_data`: the CLS vector and the patch vectors of images (default model: DINOv3).
    """
    if isinstance(body, ImageFeaturesRequest):
        return await _image_features(body, media_type, engine, settings)
    inputs = body.inputs or EndpointInputs()
    if inputs.images is None and inputs.queries is None:
        return await _scores(body, inputs, media_type, engine, settings)
    if inputs.images is not None and inputs.queries is not None:
        raise BadInputError("Send `images` or `queries` in `inputs`; for both at once use `image` and `text`.")
    if not inputs.images and not inputs.queries:
        raise BadInputError(f"`{'images' if inputs.queries is None else 'queries'}` is empty; send at least one.")
    embedded = await _embed(inputs.images or [], inputs.queries or [], "queries", body, engine, settings)
    return await respond(
        lambda: {"embeddings": _stored(embedded.images or embedded.texts, body)},
        media_type,
        body.encoding_format,
        embedded.headers,
    )


async def _scores(
    body: EndpointRequest, inputs: EndpointInputs, media_type: MediaType, engine: Engine, settings: Settings
) -> Response:
    image = inputs.image if body.image is None else body.image
    text = inputs.text if body.text is None else body.text
    if image is None and text is None:
        raise BadInputError("Send `image`, `text` or both, at the top or inside `inputs`.")
    embedded = await _embed(image or [], text or [], "text", body, engine, settings)

    def content() -> dict[str, Any]:
        images, texts = embedded.images, embedded.texts
        # Of the rows as they are returned, before they are stored in fewer bytes.
        scores: Any = maxsim_matrix(texts, images) if images else []
        return {"image": _stored(images, body), "text": _stored(texts, body), "scores": scores}

    return await respond(content, media_type, body.encoding_format, embedded.headers)


async def _embed(
    images: Sequence[str], texts: Sequence[str], field: str, body: EndpointRequest, engine: Engine, settings: Settings
) -> Embedded:
    """`field` is what errors call the texts."""
    check_n_items(len(images) + len(texts), settings)
    check_texts(texts, settings)
    name = engine.pick(body.chosen_model, *PAGES_AND_QUERIES, prefer=ENDPOINT_FAMILY)
    inputs = await asyncio.to_thread(_image_inputs, images, "image", MULTI_VECTOR, body.limits)
    embeddings = await engine.encode(name, [*inputs, *(TextInput(text, Role.QUERY, MULTI_VECTOR) for text in texts)])
    cut = truncated_indices(embeddings[len(images) :])
    if not body.truncate:
        await check_whole(engine, name, [f"{field}[{index}]" for index in cut])
    outputs = [required(embedding.multi_vector) for embedding in embeddings]
    return Embedded(
        *await made(lambda: _finished(outputs[: len(images)], outputs[len(images) :], body)),
        headers=report(embeddings, cut),
    )


def _finished(
    images: Sequence[MultiVectorEmbedding], texts: Sequence[MultiVectorEmbedding], options: ImageOptions
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Rows of both; pooling is for images alone."""
    return (
        [finished_rows(image, options).vectors for image in images],
        [finished(text.vectors, options) for text in texts],
    )


def _stored(matrices: Sequence[FloatArray], options: ImageOptions) -> list[StoredVectors]:
    return [stored(matrix, options.dtype) for matrix in matrices]


async def _image_features(
    body: ImageFeaturesRequest, media_type: MediaType, engine: Engine, settings: Settings
) -> Response:
    if not body.embedding_types or not FEATURES.keys() >= set(body.embedding_types):
        raise BadInputError(f"`embedding_types` lists one or more of: {', '.join(FEATURES)}.")
    if body.image_size is not None and body.limits != NO_LIMITS:
        raise BadInputError("`image_size` sets the size; leave out `max_pixels` and `max_visual_tokens`.")
    images = [body.image_data] if isinstance(body.image_data, str) else body.image_data
    check_n_items(len(images), settings)
    outputs = frozenset(FEATURES[name] for name in body.embedding_types)
    model = engine.pick(body.model, *((Modality.IMAGE, output) for output in outputs), prefer=FEATURES_FAMILY)
    inputs = await asyncio.to_thread(_image_inputs, images, "image_data", outputs, body.limits, body.image_size)
    embeddings = await engine.encode(model, inputs)

    def content() -> Any:
        features = [_features(embedding, body) for embedding in embeddings]
        return features[0] if isinstance(body.image_data, str) else features

    return await respond(content, media_type, body.encoding_format, report(embeddings))


def _image_inputs(
    images: Sequence[str], field: str, outputs: frozenset[Output], limits: ImageLimits, image_size: int | None = None
) -> list[ImageInput]:
    """Decode base64; errors call the images `field[0]`, `field[1]`, ..."""
    labels = [f"{field}[{index}]" for index in range(len(images))]
    return [
        ImageInput(decode_base64_image_bytes(text, label), label, outputs, image_size, limits)
        for text, label in zip(images, labels, strict=True)
    ]


def _features(embedding: Embedding, body: ImageFeaturesRequest) -> dict[str, StoredVectors]:
    """In the order asked: `cls_token` [dim], `patch_features` [n_patches, dim]."""
    return {
        name: dense(required(embedding.dense), body)
        if FEATURES[name] is Output.DENSE
        else rows(_patches_only(required(embedding.multi_vector)), body)
        for name in body.embedding_types
    }


def _patches_only(embedding: MultiVectorEmbedding) -> MultiVectorEmbedding:
    return replace(embedding, vectors=embedding.content, start=0)
