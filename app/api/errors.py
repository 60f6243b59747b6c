"""Exceptions to HTTP: one table of statuses, one shape of body."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.routing import Match

from app.api.encoding import to_json
from app.api.schemas.common import ErrorResponse
from app.core.errors import (
    BadInputError,
    ManyvecError,
    ModelLoadError,
    ModelNotFoundError,
    OutOfMemoryError,
    TooLargeError,
    UnavailableError,
)
from app.training.jobs import JobNotFoundError

log = logging.getLogger(__name__)

STATUSES: dict[type[ManyvecError], int] = {
    BadInputError: 400,
    ModelNotFoundError: 404,
    JobNotFoundError: 404,
    TooLargeError: 413,
    UnavailableError: 503,
    ModelLoadError: 503,
}
"""Status of an error; a subclass has its parent's unless it has one of its own. What is missing here is a bug: 500."""

LOAD_RETRY_AFTER_S = 30
"""A checkpoint that could not be loaded may be there once the operator has put it right."""

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "A value is bad; the message says what to change."},
    401: {"model": ErrorResponse, "description": "No API key, or a wrong one."},
    404: {"model": ErrorResponse, "description": "No such model or job."},
    413: {"model": ErrorResponse, "description": "Too many bytes, items, characters or pixels."},
    422: {"model": ErrorResponse, "description": "The body or a parameter has the wrong shape."},
    503: {
        "model": ErrorResponse,
        "description": "Busy, out of memory, or the model cannot be loaded now.",
        "headers": {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string"}}},
    },
}
"""What any route may answer, for the OpenAPI document."""

INTERNAL = "Something went wrong in the server; its log says more."

NOT_AN_OBJECT = "Send a JSON object."
MESSAGES = {
    "model_attributes_type": NOT_AN_OBJECT,
    # No validator of ours raises ValueError: this is FastAPI's for a file field that holds text.
    "value_error": "Send a file here: multipart/form-data with a filename.",
}
"""Our words for some kinds of validation errors, by Pydantic's name for the kind."""
MAX_PROBLEMS = 3
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(ManyvecError, _manyvec_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(MemoryError, _memory_error)
    app.add_exception_handler(Exception, _unknown_error)


def error_response(request: Request, status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """`{"detail": message}`, or under the names that the route wants (`request.state.error_keys`)."""
    keys = getattr(request.state, "error_keys", ("detail",))
    return Response(
        to_json(dict.fromkeys(keys, message)), status, headers=dict(headers or {}), media_type="application/json"
    )


def status_of(error: ManyvecError) -> int:
    """The status of the nearest class in the table."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)


async def _manyvec_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ManyvecError)  # noqa: S101 - it was registered for these
    status = status_of(error)
    if status == 500:
        raise error
    retry_after_s = getattr(error, "retry_after_s", LOAD_RETRY_AFTER_S)
    return error_response(request, status, error.message, {"Retry-After": str(retry_after_s)} if status == 503 else {})


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it was registered for these
    if isinstance(error.body, bytes):
        return error_response(request, 422, "Send the body as JSON, with the header `Content-Type: application/json`.")
    problems = error.errors()
    if empty := [problem["loc"][-1] for problem in problems if _is_empty_field(problem, error.body)]:
        return error_response(request, 400, f"{empty[0]} is empty.")
    return error_response(request, 422, " ".join(_problem(problem) for problem in problems[:MAX_PROBLEMS]))


def _is_empty_field(problem: Mapping[str, Any], body: Any) -> bool:
    """True for a form field that was sent, though empty: to FastAPI it is missing, here it is a bad value."""
    return problem["type"] == "missing" and isinstance(body, FormData) and problem["loc"][-1] in body


def _problem(problem: Mapping[str, Any]) -> str:
    """`dimensions[0].width: Field required.` from one of Pydantic's errors; never the input itself."""
    place = ""
    for part in problem["loc"][1:]:
        if isinstance(part, int):
            place += f"[{part}]"
        # The names of a union's branches stand here too, and are no identifiers.
        elif part.isidentifier():
            place += f".{part}" if place else part
    if not place:
        return NOT_AN_OBJECT
    return f"{place}: {MESSAGES.get(problem['type'], problem['msg'].rstrip('.') + '.')}"


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it was registered for these
    status, message, headers = error.status_code, str(error.detail), error.headers
    if status == 404:
        message = "There is no such path; /docs lists those that there are."
    elif status == 405:
        allowed = ", ".join(_methods(request))
        message, headers = f"This path takes {allowed}.", {"Allow": allowed}
    elif isinstance(error.__context__, MultiPartException) and "maximum" in message.lower():
        # Starlette answers 400 to too many or too large form fields.
        status = 413
    return error_response(request, status, message, headers)


def _methods(request: Request) -> list[str]:
    """The methods that the path takes, in the order of the alphabet; it may have several routes."""
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


async def _memory_error(request: Request, error: Exception) -> Response:
    log.error("out of memory", exc_info=error)
    return await _manyvec_error(request, OutOfMemoryError("This does not fit into memory now; ask for less at once."))


async def _unknown_error(request: Request, _error: Exception) -> Response:
    # Starlette raises it again once this is sent, and the server logs it.
    return error_response(request, 500, INTERNAL)
