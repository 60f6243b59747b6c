"""The API key: `Authorization: Bearer KEY` or `X-API-Key: KEY`."""

import secrets
from collections.abc import Iterator
from typing import Annotated

from fastapi import HTTPException, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import HTTPConnection

from app.settings import Settings

BEARER = HTTPBearer(scheme_name="Bearer", description="The server's API_KEY, if it has one.", auto_error=False)
HEADER = APIKeyHeader(
    name="X-API-Key", scheme_name="ApiKey", description="The server's API_KEY, if it has one.", auto_error=False
)


async def require_api_key(
    request: Request,
    _bearer: Annotated[object, Security(BEARER)],
    _header: Annotated[object, Security(HEADER)],
) -> None:
    """Dependency of every router that is not open to all; its parameters put the schemes into the OpenAPI document."""
    check_api_key(request)


def check_api_key(request: HTTPConnection) -> None:
    """Raises 401 unless the server has no key or the request carries it."""
    settings: Settings = request.app.state.settings
    key = settings.api_key.get_secret_value().encode() if settings.api_key else b""
    if key and not any(secrets.compare_digest(candidate, key) for candidate in _presented_keys(request)):
        raise HTTPException(
            401,
            "Send the API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _presented_keys(request: HTTPConnection) -> Iterator[bytes]:
    # Header values are bytes on the wire and Latin-1 in Starlette: this gives back the bytes.
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        # Of white space only what HTTP knows: in Latin-1 bytes of a UTF-8 key look like white space too.
        yield token.strip(" \t").encode("latin-1")
    yield request.headers.get("x-api-key", "").encode("latin-1")
