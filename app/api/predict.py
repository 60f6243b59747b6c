"""`POST /predict` and `POST /`: the Hugging Face inference endpoint of ColQwen2, and DINOv3's image features."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import Body, Response
from starlette.requests import HTTPConnection

from app.api.defaults import ENDPOINT_FAMILY, FEATURES_FAMILY, MULTI_VECTOR, PAGES_AND_QUERIES
from app.api.encoding import EMBEDDINGS, required, respond
from app.api.errors import ERROR_RESPONSES
from app.api.limits import check_dimensions, check_n_items, check_texts, check_whole
from app.api.negotiation import MediaType, MediaTypeDep
from app.api.report import report, truncated_indices
from app.api.route import ApiRoute, EngineDep, JsonRequest, SettingsDep, api_router
from app.api.schemas.options import ImageOptions
from app.api.schemas.predict import (
    EXAMPLES,
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
    """The images of a request, then its texts."""

    embeddings: Sequence[Embedding]
    n_images: int
    headers: dict[str, str]

    def images(self, options: ImageOptions) -> list[FloatArray]:
        """Finished rows [n_rows, dim] of each image."""
        images = self.embeddings[: self.n_images]
        return [finished_rows(required(image.multi_vector), options).vectors for image in images]

    def texts(self, options: ImageOptions) -> list[FloatArray]:
        """The same of each text; pooling is for images alone."""
        return [finished(required(text.multi_vector).vectors, options) for text in self.embeddings[self.n_images :]]


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
    fields = ("image", "text", "images", "queries")
    # Clients send empty lists for what they leave out.
    sent = [name for name in fields if getattr(body, name)] or [n for n in fields if getattr(body, n) is not None]
    if not sent:
        raise BadInputError("Send `image`, `text` or both, at the top or inside `inputs`.")
    if sent in (["images"], ["queries"]):
        return await _one_kind(body, media_type, engine, settings)
    if not {"image", "text"}.issuperset(sent):
        raise BadInputError("Send `images` or `queries` alone; for both at once use `image` and `text`.")
    return await _scores(body, media_type, engine, settings)


async def _one_kind(body: EndpointRequest, media_type: MediaType, engine: Engine, settings: Settings) -> Response:
    if not body.images and not body.queries:
        raise BadInputError(f"`{'images' if body.queries is None else 'queries'}` is empty; send at least one.")
    embedded = await _embed(body.images or [], body.queries or [], ("images", "queries"), body, engine, settings)

    def content() -> dict[str, Any]:
        matrices = embedded.images(body) or embedded.texts(body)
        return {"embeddings": _stored(matrices, body)}

    threads = engine.answer_threads(len(embedded.embeddings))
    return await respond(content, media_type, body.encoding_format, embedded.headers, threads=threads)


async def _scores(body: EndpointRequest, media_type: MediaType, engine: Engine, settings: Settings) -> Response:
    embedded = await _embed(body.image or [], body.text or [], ("image", "text"), body, engine, settings)

    def content() -> dict[str, Any]:
        images, texts = embedded.images(body), embedded.texts(body)
        # Of the rows as they are returned, before they are stored in fewer bytes.
        scores: Any = maxsim_matrix(texts, images) if images else []
        return {"image": _stored(images, body), "text": _stored(texts, body), "scores": scores}

    threads = engine.answer_threads(len(embedded.embeddings))
    return await respond(content, media_type, body.encoding_format, embedded.headers, threads=threads)


async def _embed(
    images: Sequence[str],
    texts: Sequence[str],
    fields: tuple[str, str],
    body: EndpointRequest,
    engine: Engine,
    settings: Settings,
) -> Embedded:
    """`fields` are what errors call the images and the texts."""
    check_n_items(len(images) + len(texts), settings)
    check_texts(texts, settings)
    name = engine.pick(body.model, *PAGES_AND_QUERIES, prefer=ENDPOINT_FAMILY)
    await check_dimensions(engine, name, body.dimensions)
    image_field, text_field = fields
    inputs: list[ImageInput | TextInput] = [
        *await asyncio.to_thread(_image_inputs, images, image_field, MULTI_VECTOR, body.limits),
        *(TextInput(text, Role.QUERY, MULTI_VECTOR, f"{text_field}[{i}]") for i, text in enumerate(texts)),
    ]
    embeddings = await engine.encode(name, inputs)
    if not body.truncate:
        check_whole(inputs, embeddings)
    n_images = len(images)
    return Embedded(embeddings, n_images, report(embeddings, truncated_indices(embeddings[n_images:])))


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
    await check_dimensions(engine, model, body.dimensions)
    inputs = await asyncio.to_thread(_image_inputs, images, "image_data", outputs, body.limits, body.image_size)
    embeddings = await engine.encode(model, inputs)

    def content() -> Any:
        features = [_features(embedding, body) for embedding in embeddings]
        return features[0] if isinstance(body.image_data, str) else features

    threads = engine.answer_threads(len(inputs))
    return await respond(content, media_type, body.encoding_format, report(embeddings), threads=threads)


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
