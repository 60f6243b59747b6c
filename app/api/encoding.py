"""Arrays to the wire; the only place that knows how vectors are written."""

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import orjson
from fastapi import Response

from app.core.types import Embedding

T = TypeVar("T")

TRUNCATED_HEADER = "X-Truncated"
MAX_LISTED = 256
"""Most indices that the header lists: proxies refuse headers of more than a few kB."""

TRUNCATION: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            TRUNCATED_HEADER: {
                "description": "Which texts were longer than the model's context and lost their end: their indices "
                "in the request, counted from 0, separated by commas; `query` for a query that stands alone. "
                f"At most {MAX_LISTED} are listed, then `...` follows. Absent if none was cut.",
                "schema": {"type": "string"},
            }
        }
    }
}
"""Documents the header in a route's `responses`."""


def to_json(content: Any) -> bytes:
    """JSON of plain values and arrays of any shape, which are written as nested lists."""
    return orjson.dumps(content, default=_array)


async def json_response(content: Any, truncated: Iterable[int | str] = ()) -> Response:
    """Encode `content` off the event loop; `truncated` names the inputs that were cut."""
    body = await asyncio.to_thread(to_json, content)
    return Response(body, headers=truncation_headers(truncated), media_type="application/json")


def truncation_headers(truncated: Iterable[int | str]) -> dict[str, str]:
    """The header that makes truncation visible; empty if nothing was cut."""
    names = [str(name) for name in truncated]
    if len(names) > MAX_LISTED:
        names = [*names[:MAX_LISTED], "..."]
    return {TRUNCATED_HEADER: ",".join(names)} if names else {}


def truncated_indices(embeddings: Iterable[Embedding]) -> list[int]:
    """Which of the inputs were cut."""
    return [index for index, embedding in enumerate(embeddings) if embedding.truncated]


def required(output: T | None) -> T:
    """An output that was asked for."""
    if output is None:
        raise RuntimeError("The model left out an output that was asked for.")
    return output


def _array(value: Any) -> orjson.Fragment:
    # orjson calls back for each array instead of writing all at once under the interpreter's lock, so that
    # the event loop gets its turn in between.
    if isinstance(value, np.ndarray):
        value = np.ascontiguousarray(value)
    elif not isinstance(value, np.generic):
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return orjson.Fragment(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))
