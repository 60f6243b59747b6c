"""`POST /predict` and `POST /`: the Hugging Face inference endpoint of ColQwen2, and DINOv3's image features."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Body, Response
from starlette.requests import HTTPConnection

from app.api.defaults import ENDPOINT_FAMILY, FEATURES_FAMILY, MULTI_VECTOR, PAGES_AND_QUERIES
from app.api.encoding import TRUNCATION, json_response, required, truncated_indices
from app.api.errors import ERROR_RESPONSES
from app.api.limits import check_n_items, check_texts
from app.api.route import ApiRoute, EngineDep, JsonRequest, SettingsDep, api_router
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
from app.core.base64_images import decode_base64_image_bytes
from app.core.errors import BadInputError
from app.core.maxsim import maxsim_matrix
from app.core.types import Embedding, FloatArray, ImageInput, Modality, Output, Role, TextInput
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

RESPONSES = TRUNCATION | {status: response | {"model": PredictError} for status, response in ERROR_RESPONSES.items()}


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
    body: Annotated[PredictRequest, Body(openapi_examples=EXAMPLES)], engine: EngineDep, settings: SettingsDep
) -> Response:
    """Two requests that the fields tell apart.

    `image` and `text`, at the top or inside `inputs`: rows of every image and text, and the MaxSim score of each pair
    (default model: ColQwen2). `image_data`: the CLS vector and the patch vectors of images (default model: DINOv3).
    """
    if isinstance(body, ImageFeaturesRequest):
        return await _image_features(body, engine, settings)
    name = engine.pick(body.model, *PAGES_AND_QUERIES, prefer=ENDPOINT_FAMILY)
    inputs = body.inputs or EndpointInputs()
    if inputs.images is None and inputs.queries is None:
        return await _scores(body, inputs, name, engine, settings)
    if inputs.images is not None and inputs.queries is not None:
        raise BadInputError("Send `images` or `queries` in `inputs`; for both at once use `image` and `text`.")
    images, texts, truncated = await _embed(inputs.images or [], inputs.queries or [], name, engine, settings)
    return await json_response({"embeddings": images or texts}, truncated)


async def _scores(
    body: EndpointRequest, inputs: EndpointInputs, name: str, engine: Engine, settings: Settings
) -> Response:
    image = inputs.image if body.image is None else body.image
    text = inputs.text if body.text is None else body.text
    if image is None and text is None:
        raise BadInputError("Send `image`, `text` or both, at the top or inside `inputs`.")
    images, texts, truncated = await _embed(image or [], text or [], name, engine, settings)
    scores = await asyncio.to_thread(maxsim_matrix, texts, images)
    return await json_response({"image": images, "text": texts, "scores": scores if images else []}, truncated)


async def _embed(
    images: Sequence[str], texts: Sequence[str], name: str, engine: Engine, settings: Settings
) -> tuple[list[FloatArray], list[FloatArray], list[int]]:
    """Rows [n_rows, dim] of each image and each text, and which texts were cut."""
    check_n_items(len(images) + len(texts), settings)
    check_texts(texts, settings)
    inputs = await asyncio.to_thread(_image_inputs, images, "image", MULTI_VECTOR)
    embeddings = await engine.encode(name, [*inputs, *(TextInput(text, Role.QUERY, MULTI_VECTOR) for text in texts)])
    rows = [required(embedding.multi_vector).vectors for embedding in embeddings]
    return rows[: len(images)], rows[len(images) :], truncated_indices(embeddings[len(images) :])


async def _image_features(body: ImageFeaturesRequest, engine: Engine, settings: Settings) -> Response:
    if not body.embedding_types or not FEATURES.keys() >= set(body.embedding_types):
        raise BadInputError(f"`embedding_types` lists one or more of: {', '.join(FEATURES)}.")
    images = [body.image_data] if isinstance(body.image_data, str) else body.image_data
    check_n_items(len(images), settings)
    outputs = frozenset(FEATURES[name] for name in body.embedding_types)
    model = engine.pick(body.model, *((Modality.IMAGE, output) for output in outputs), prefer=FEATURES_FAMILY)
    inputs = await asyncio.to_thread(_image_inputs, images, "image_data", outputs, body.image_size)
    embeddings = await engine.encode(model, inputs)
    features = [_features(embedding, body.embedding_types) for embedding in embeddings]
    return await json_response(features[0] if isinstance(body.image_data, str) else features)


def _image_inputs(
    images: Sequence[str], field: str, outputs: frozenset[Output], image_size: int | None = None
) -> list[ImageInput]:
    """Decode base64; errors call the images `field[0]`, `field[1]`, ..."""
    labels = [f"{field}[{index}]" for index in range(len(images))]
    return [
        ImageInput(decode_base64_image_bytes(text, label), label, outputs, image_size)
        for text, label in zip(images, labels, strict=True)
    ]


def _features(embedding: Embedding, names: Sequence[str]) -> dict[str, FloatArray]:
    """In the order asked: `cls_token` [dim], `patch_features` [n_patches, dim]."""
    return {
        name: required(embedding.dense) if FEATURES[name] is Output.DENSE else required(embedding.multi_vector).content
        for name in names
    }
