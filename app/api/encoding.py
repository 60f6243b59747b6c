"""Arrays to the wire; the only place that knows how vectors are written."""

import asyncio
import base64
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any, TypeVar

import numpy as np
import orjson
from fastapi import Response

from app.api.negotiation import MediaType
from app.api.report import REPORT_HEADERS
from app.api.schemas.options import EncodingFormat
from app.api.tensors import to_npz, to_safetensors
from app.core.quantization import StoredVectors
from app.core.trace import timed_phase

T = TypeVar("T")

BINARY = {"schema": {"type": "string", "format": "binary"}}

EMBEDDINGS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "In JSON unless `Accept` asks for the arrays themselves: as safetensors or npz they bear the "
        "names of their places in the JSON, such as `embeddings.0`, and `metadata` holds the rest of it.",
        "content": {MediaType.SAFETENSORS.value: BINARY, MediaType.NPZ.value: BINARY},
        "headers": REPORT_HEADERS,
    }
}
"""Documents the formats and headers of embeddings in a route's `responses`."""


async def made(work: Callable[[], T], *, at_once: bool = False, threads: Executor | None = None) -> T:
    """Work that makes an answer of what a model wrote, off the event loop; its time counts as encoding.

    `at_once`: here and now, since it takes less time than to wake a thread, as a single vector does. `threads`: as
    `Engine.answer_threads` gives them.
    """
    with timed_phase("encode"):
        if at_once:
            return work()
        return await asyncio.get_running_loop().run_in_executor(threads, copy_context().run, work)


async def respond(
    make_content: Callable[[], Any],
    media_type: MediaType,
    encoding_format: EncodingFormat,
    headers: Mapping[str, str],
    *,
    at_once: bool = False,
    threads: Executor | None = None,
) -> Response:
    """Answer with vectors (`StoredVectors`), other arrays and plain values, made and written as `made` does it."""
    body = await made(lambda: encoded(make_content(), media_type, encoding_format), at_once=at_once, threads=threads)
    return Response(body, headers=dict(headers), media_type=media_type)


def encoded(content: Any, media_type: MediaType, encoding_format: EncodingFormat = EncodingFormat.FLOAT) -> bytes:
    """`content` in that format; `encoding_format` is JSON's."""
    if media_type is MediaType.SAFETENSORS:
        return to_safetensors(content)
    if media_type is MediaType.NPZ:
        return to_npz(content)
    if encoding_format is EncodingFormat.BASE64:
        return orjson.dumps(content, default=_in_base64, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    return orjson.dumps(content, default=_in_lists, option=orjson.OPT_PASSTHROUGH_DATACLASS)


async def json_response(
    make_content: Callable[[], Any], headers: Mapping[str, str] | None = None, *, at_once: bool = False
) -> Response:
    """Answer with plain values and arrays, made and written as `made` does it."""
    body = await made(lambda: to_json(make_content()), at_once=at_once)
    return Response(body, headers=dict(headers or {}), media_type="application/json")


def to_json(content: Any) -> bytes:
    """JSON of plain values and arrays of any shape, which are written as nested lists."""
    return orjson.dumps(content, default=_array)


def required(output: T | None) -> T:
    """An output that was asked for."""
    if output is None:
        raise RuntimeError("The model left out an output that was asked for.")
    return output


def _in_lists(value: Any) -> Any:
    if not isinstance(value, StoredVectors):
        return _array(value)
    return _array(value.values) if value.scales is None else _described(value, _array(value.values))


def _in_base64(value: Any) -> Any:
    if not isinstance(value, StoredVectors):
        return _array(value)
    # A fragment spares looking for characters that JSON would have to escape: base64 has none.
    text = base64.b64encode(np.ascontiguousarray(value.values).data)
    return _described(value, orjson.Fragment(b'"%s"' % text))


def _described(vectors: StoredVectors, data: orjson.Fragment) -> dict[str, Any]:
    """What it takes to read `data`."""
    values = vectors.values
    description = {"data": data, "dtype": values.dtype.name, "shape": values.shape}
    return description if vectors.scales is None else description | {"scales": vectors.scales}


def _array(value: Any) -> orjson.Fragment:
    # orjson calls back for each array instead of writing all at once under the interpreter's lock, so that
    # the event loop gets its turn in between.
    if isinstance(value, np.ndarray):
        value = np.ascontiguousarray(value)
    elif not isinstance(value, np.generic):
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return orjson.Fragment(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))
