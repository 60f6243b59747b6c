"""What anybody may ask: is the server there, can it answer, does it want requests.

Load balancers ask with HEAD, which the OpenAPI document leaves out: generated clients have no use for it.
"""

from typing import Any

from fastapi import APIRouter, Request, Response

from app.api.encoding import to_json
from app.api.route import EngineDep, operation_id
from app.api.schemas.models import Health, Ready, Welcome
from app.core.errors import ManyvecError
from app.core.types import Modality, Output
from app.engine.engine import Engine, ModelState

router = APIRouter(tags=["server"], generate_unique_id_function=operation_id)


@router.head("/", include_in_schema=False)
@router.get("/", summary="Where to look")
async def welcome(request: Request) -> Welcome:
    return Welcome(
        message="Manyvec turns texts, pages and pictures into vectors. Start at /playground or /docs.",
        version=request.app.version,
        playground="/playground",
        docs="/docs",
        openapi="/openapi.json",
        models="/v1/models",
    )


@router.head("/health", include_in_schema=False)
@router.get(
    "/health",
    summary="Whether every loaded model can compute",
    response_model=Health,
    responses={503: {"model": Health, "description": "A model's worker is dead or stuck."}},
)
async def health(engine: EngineDep) -> Response:
    states = {status.config.name: status.state for status in engine.models()}
    healthy = ModelState.STUCK not in states.values()
    content = {
        "status": "healthy" if healthy else "unhealthy",
        "device": await engine.device(),
        "model": _default_text_model(engine),
        "models": states,
    }
    return _answer(content, healthy)


@router.head("/ready", include_in_schema=False)
@router.get(
    "/ready",
    summary="Whether the server wants requests",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "A model is stuck, or one of PRELOAD is still being loaded."}},
)
async def ready(request: Request, engine: EngineDep) -> Response:
    states = {status.config.name: status.state for status in engine.models()}
    awaited = [states.get(name) for name in request.app.state.preloaded]
    is_ready = ModelState.STUCK not in states.values() and ModelState.LOADING not in awaited
    return _answer({"status": "ready" if is_ready else "not ready"}, is_ready)


def _default_text_model(engine: Engine) -> str | None:
    try:
        return engine.pick(None, (Modality.TEXT, Output.DENSE))
    except ManyvecError:
        return None


def _answer(content: Any, good: bool) -> Response:
    headers = {} if good else {"Retry-After": "5"}
    return Response(to_json(content), 200 if good else 503, headers, media_type="application/json")
