"""A server in this process whose models are fakes."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.main import create_app
from app.settings import Settings
from tests.fake_trainer import COMMAND
from tests.fakes import FakeLoader

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@asynccontextmanager
async def serve(loader: FakeLoader | None = None, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server with these settings; the environment has no say.

    Training is off unless it is asked for: it would write into the models folder.
    """
    settings = {"training": False} | settings
    if isinstance(settings.get("api_key"), str):
        settings["api_key"] = SecretStr(settings["api_key"])
    app = create_app(Settings.model_construct(**settings), loader=loader or FakeLoader(), trainer=COMMAND)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server", timeout=30) as client:
            yield client


@pytest.fixture
def serving() -> Serve:
    return serve


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with serve() as client:
        yield client
