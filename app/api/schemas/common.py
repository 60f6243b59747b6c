"""Pieces that several resources share."""

from typing import Annotated, Any

from fastapi import UploadFile
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

Vector = list[float]
Rows = Annotated[list[Vector], Field(description="One vector a row.")]

EXAMPLE_IMAGE = (
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAYAQMAAAChnW13AAAABlBMVEX////IHh7kMBY6AAAAFklEQVR42mNgwArsPzAxMDAw4CcoAQB2twE+"
    "Pg1w6gAAAABJRU5ErkJggg=="
)
"""A PNG of 32 x 24 pixels with a red square, in base64."""


class Body(BaseModel):
    """Base of every request and response; fields that it does not know are ignored."""

    model_config = ConfigDict(protected_namespaces=(), allow_inf_nan=False)


class ModelChoice(Body):
    """Base of every JSON request."""

    model: str | None = Field(
        None, description="Served name or checkpoint id of the model, as `GET /v1/models` lists; default: the route's."
    )


class ErrorResponse(Body):
    """What every error looks like."""

    detail: str = Field(description="What is wrong and what to change.")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def examples(*values: dict[str, Any]) -> ConfigDict:
    """Configuration of a body whose examples work as they are."""
    return ConfigDict(json_schema_extra={"examples": list(values)})


def _check_unicode(text: str) -> str:
    # Odd charsets of a multipart form can smuggle in halves of surrogate pairs, which no encoder takes.
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("unicode", "The text holds characters that are not valid Unicode") from None
    return text


Strings = Annotated[list[str], Field(fail_fast=True)]
"""The first that is no string is the only one that is told: a body has room for millions."""
OneOrMore = Annotated[Strings, BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
"""A list of strings; one string stands for a list of it."""
OneOrMoreOrNone = Annotated[Strings | None, BeforeValidator(_as_list, json_schema_input_type=str | list[str] | None)]
UploadedFile = Annotated[UploadFile, WithJsonSchema({"type": "string", "format": "binary"})]
"""Generators of clients know files by this format."""
FormText = Annotated[str, AfterValidator(_check_unicode)]
"""A text in a form; in JSON the parser has made sure of it."""
