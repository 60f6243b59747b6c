"""What every route that is not open to all has in common."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from app.api.errors import ERROR_RESPONSES
from app.api.limits import check_lists, limit_body
from app.api.security import check_api_key
from app.core.errors import TooLargeError
from app.engine.engine import Engine
from app.settings import Settings


class JsonRequest(Request):
    """Parses JSON with orjson, which refuses what the standard library lets through.

    That is NaN, infinities, numbers beyond float64, lone surrogates, bad UTF-8 and nesting beyond 1024 levels.
    """

    async def json(self) -> Any:
        """The parsed body. Raises 400 if it is not JSON, 413 if a list in it is too long."""
        try:
            # In a thread this would still block the event loop: orjson never lets go of the interpreter's lock.
            body = orjson.loads(await self.body())
        except orjson.JSONDecodeError as error:
            raise HTTPException(400, f"The body is not valid JSON: {error}.") from None
        try:
            check_lists(body, self.app.state.settings)
        except TooLargeError as error:
            # FastAPI would make 400 of it here.
            raise HTTPException(413, error.message) from None
        return body


class ApiRoute(APIRoute):
    """Checks key and limits before the body is read, and parses it with `request_class`."""

    request_class: type[Request] = JsonRequest

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        # FastAPI runs dependencies after it has read the body; a stranger's is not worth reading.
        request = HTTPConnection(scope)
        self.greet(request)
        check_api_key(request)
        state = request.app.state
        with state.request_slots.take():
            await super().handle(scope, limit_body(scope, receive, state.settings.max_body_mb), send)

    def greet(self, request: HTTPConnection) -> None:
        """Called first of all; a route may note in `request.state` how it wants to be answered."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await answer(self.request_class(request.scope, request.receive))

        return handler


def operation_id(route: APIRoute) -> str:
    """Names of operations in generated clients are the names of the handlers."""
    return route.name


def api_router(tag: str, route_class: type[ApiRoute] = ApiRoute) -> APIRouter:
    """A router for one resource."""
    return APIRouter(
        tags=[tag], route_class=route_class, responses=ERROR_RESPONSES, generate_unique_id_function=operation_id
    )


# Dependencies are coroutines also where they wait for nothing: FastAPI sends plain functions through a thread.


async def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _model_of_form(
    model: Annotated[str | None, Query(description="Served name or checkpoint id; default: the route's own.")] = None,
    form_model: Annotated[str | None, Form(alias="model", description="The same as the query parameter.")] = None,
) -> str | None:
    return model or form_model


EngineDep = Annotated[Engine, Depends(_engine)]
SettingsDep = Annotated[Settings, Depends(_settings)]
FormModelDep = Annotated[str | None, Depends(_model_of_form)]
"""`model` of a multipart route: query parameter, else form field."""
