"""`POST /predict`, which two older services share; the fields tell their requests apart."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from app.api.schemas.common import EXAMPLE_IMAGE, Body, ModelChoice, OneOrMore, OneOrMoreOrNone, Vector
from app.api.schemas.options import AnyRows, AnyVector, ImageOptions, Truncation

EXAMPLES: dict[str, Any] = {
    "images and texts": {
        "summary": "Embed images and texts and score each text against each image",
        "value": {"inputs": [], "image": [EXAMPLE_IMAGE], "text": ["a red square"], "batch_size": 4},
    },
    "image features": {
        "summary": "Features of an image",
        "value": {"image_data": EXAMPLE_IMAGE, "embedding_types": ["cls_token", "patch_features"]},
    },
}


class ImagesAndTexts(Body):
    """What a Hugging Face inference endpoint of ColQwen2 takes."""

    image: OneOrMoreOrNone = Field(None, description="Images in base64, bare or as data URIs.")
    text: OneOrMoreOrNone = Field(None, description="Search texts.")


class EndpointInputs(ImagesAndTexts, ImageOptions, Truncation, ModelChoice):
    """The same, or one kind alone."""

    batch_size: int | None = Field(None, ge=1, description="A hint, accepted and not needed: the server batches.")
    images: OneOrMoreOrNone = Field(None, description="Asks for `embeddings` of these images alone.")
    queries: OneOrMoreOrNone = Field(None, description="Asks for `embeddings` of these texts alone.")


def _no_inputs(value: Any) -> Any:
    return None if value == [] else value


class EndpointRequest(EndpointInputs):
    """Images and texts, at the top or inside `inputs`."""

    inputs: Annotated[
        EndpointInputs | None,
        BeforeValidator(_no_inputs, json_schema_input_type=EndpointInputs | Annotated[list[str], Field(max_length=0)]),
    ] = Field(None, description="An object with the same keys, for those that are not at the top; or an empty list.")

    @model_validator(mode="before")
    @classmethod
    def _lift(cls, body: Any) -> Any:
        """The keys of `inputs` to the top."""
        inputs = body.get("inputs") if isinstance(body, dict) else None
        if not isinstance(inputs, dict):
            return body
        return inputs | {key: value for key, value in body.items() if key != "inputs" and value is not None}


class EndpointScores(Body):
    """Rows of every image and text, and how well they match."""

    image: list[AnyRows]
    text: list[AnyRows]
    scores: list[Vector] = Field(description="scores[i][j] is MaxSim of text i with image j.")


class EndpointEmbeddings(Body):
    """Rows of every image or text."""

    embeddings: list[AnyRows]


def _one_or_more(value: Any) -> Any:
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(image, str) for image in value)):
        return value
    raise PydanticCustomError("image_data", "Send an image in base64, or a list of them")


class ImageFeaturesRequest(ImageOptions, ModelChoice):
    """Images, and which features of them are wanted."""

    image_data: Annotated[str | list[str], BeforeValidator(_one_or_more)] = Field(
        description="An image in base64, bare or as a data URI; or a list of them."
    )
    embedding_types: OneOrMore = Field(
        ["cls_token"], description="`cls_token` (one vector) and `patch_features` (one a patch, row-major)."
    )
    image_size: int | None = Field(
        None, ge=1, description="Side in pixels of the square to resize to. Default: each side to the next whole patch."
    )


class ImageFeatures(Body):
    """What was asked for, in the order asked."""

    cls_token: AnyVector | None = None
    patch_features: AnyRows | None = None


def is_for_features(body: Any) -> bool:
    """True for the fields of `ImageFeaturesRequest`."""
    return isinstance(body, dict) and not body.keys().isdisjoint({"image_data", "embedding_types", "image_size"})


PredictRequest = Annotated[
    Annotated[EndpointRequest, Tag("images and texts")] | Annotated[ImageFeaturesRequest, Tag("image features")],
    Discriminator(lambda body: "image features" if is_for_features(body) else "images and texts"),
]
PredictResponse = EndpointScores | EndpointEmbeddings | ImageFeatures | list[ImageFeatures]


class PredictError(Body):
    """`error` for requests of the inference endpoint, `detail` for image features, both if it cannot be told."""

    error: str | None = None
    detail: str | None = None
