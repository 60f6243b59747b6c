"""How much one request may bring, and how many requests are answered at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from app.core.errors import BadInputError, TooLargeError, UnavailableError
from app.core.types import Embedding, ImageInput, TextInput
from app.core.vectors import check_length
from app.engine.engine import Engine
from app.settings import Settings

MAX_OPTIONS = 64
"""A list that is no longer may hold something else than items."""


class RequestSlots:
    """Counts the requests that are being answered. Used from one event loop."""

    def __init__(self, n_slots: int) -> None:
        self._free = n_slots

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a slot. Raises `UnavailableError` if all are taken."""
        if self._free == 0:
            raise UnavailableError("The server is answering as many requests as it may; try again in a moment.")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


def limit_body(scope: Scope, receive: Receive, max_mb: float) -> Receive:
    """`receive` that raises 413 once the body exceeds `max_mb` MiB, whatever its headers announced.

    Starlette's `RequestBodyLimitMiddleware` answers in plain text where every other error here is JSON.
    """
    max_bytes = int(max_mb * 2**20)
    too_large = HTTPException(413, f"The request body is larger than the limit of {max_mb:g} MiB.")
    announced = Headers(scope=scope).get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise too_large
    n_bytes = 0

    async def receive_within_limit() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > max_bytes:
            raise too_large
        return message

    return receive_within_limit


async def check_dimensions(engine: Engine, model: str, dimensions: int | None) -> None:
    """Raises `BadInputError` if the model's vectors are shorter: before they are computed."""
    if dimensions is not None:
        check_length(dimensions, (await engine.model(model)).info.dim)


def check_whole(inputs: Sequence[TextInput | ImageInput], embeddings: Sequence[Embedding]) -> None:
    """Raises `BadInputError` if the model could not read all of an input."""
    for item, embedding in zip(inputs, embeddings, strict=True):
        if embedding.truncated:
            # What is cut is as long as it may be.
            raise BadInputError(
                f"{item.label} is longer than the {embedding.n_tokens} tokens that this model reads, special tokens "
                "included. Shorten it, or let `truncate` be true."
            )


def check_n_items(n_items: int, settings: Settings) -> None:
    """Raises `TooLargeError` if one request brings more inputs than MAX_ITEMS."""
    if n_items > settings.max_items:
        raise TooLargeError(f"At most {settings.max_items} items are accepted in one request; send several requests.")


def check_lists(body: Any, settings: Settings) -> None:
    """Raises `TooLargeError` as `check_n_items` does: a body has room for millions of items, each of which would be
    looked at before a handler could count them.
    """
    fields = body.values() if isinstance(body, dict) else ()
    inner = (value for field in fields if isinstance(field, dict) for value in field.values())
    # What is inside comes later: a field that is too long is not gone through.
    for value in chain(fields, inner):
        if isinstance(value, list | dict) and len(value) > MAX_OPTIONS:
            check_n_items(len(value), settings)


def check_texts(texts: Sequence[str], settings: Settings) -> None:
    """Raises `TooLargeError` for too many texts, or one that is longer than MAX_TEXT_CHARS."""
    check_n_items(len(texts), settings)
    if any(len(text) > settings.max_text_chars for text in texts):
        raise TooLargeError(f"A text is longer than the limit of {settings.max_text_chars} characters; split it.")
