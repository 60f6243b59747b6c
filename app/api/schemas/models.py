"""The server itself and its models."""

from typing import Literal

from pydantic import Field

from app.api.schemas.common import Body
from app.engine.engine import ModelState


class Welcome(Body):
    """Where to look."""

    message: str
    version: str
    playground: str = Field(description="Path of a web page to try everything in.")
    docs: str = Field(description="Path of the interactive documentation.")
    openapi: str = Field(description="Path of the OpenAPI document.")
    models: str = Field(description="Path of the list of models.")


class Health(Body):
    """Whether the server can answer."""

    status: Literal["healthy", "unhealthy"]
    device: str
    model: str | None = Field(description="The default text model.")
    models: dict[str, ModelState]


class Ready(Body):
    """Whether the server wants requests."""

    status: Literal["ready", "not ready"]


class Info(Body):
    """The default visual model, loaded."""

    version: str
    model: str = Field(description="Served name.")
    model_id: str = Field(description="Checkpoint: hub id or folder.")
    family: str
    trained: bool = Field(description="False for random weights, whose vectors mean nothing.")
    device: str
    dtype: str
    backend: str = Field(description="What computes: `torch`, `onnxruntime` or `openvino`.")
    flash_attn: bool
    attention: str
    dim: int = Field(description="Width of the vectors, read from the model.")
    context_length: int = Field(description="Longest input in tokens.")
    patch_size: int | None
    spatial_merge_size: int | None
    image_token_id: int | None


class ModelObject(Body):
    """One configured model. What only the loaded model knows is null until then."""

    id: str = Field(description="What requests call it.")
    object: Literal["model"] = "model"
    family: str
    checkpoint: str = Field(description="Hub id or folder.")
    capabilities: list[str] = Field(description="`text:dense`, `image:multi_vector`, ...")
    license: str = Field(description="Of the weights.")
    trained: bool = Field(
        description="False for random weights, whose vectors mean nothing. True for what was fine-tuned here: it knows "
        "what it was trained on, and of all else what its `base_model` knows."
    )
    base_model: str | None = Field(description="Of a fine-tuned model: what was trained further, by its served name.")
    state: ModelState
    error: str | None = Field(description="Why the last load failed.")
    dimensions: int | None = Field(description="Width of the vectors.")
    context_length: int | None = Field(description="Longest input in tokens.")
    device: str | None
    dtype: str | None
    backend: str | None = Field(description="What computes: `torch`, `onnxruntime` or `openvino`.")
    memory_bytes: int | None


class ModelList(Body):
    """All configured models."""

    object: Literal["list"] = "list"
    data: list[ModelObject]
