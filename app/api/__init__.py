"""The HTTP layer: routers, schemas, errors and the wire format."""

from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry

from app.api import (
    errors,
    fine_tune,
    health,
    metrics,
    models,
    pages,
    playground,
    predict,
    rerank,
    similarity,
    text,
    training,
    visual,
)
from app.api.disconnect import CancelOnDisconnect
from app.api.limits import RequestSlots
from app.api.observe import HttpMetrics, ObserveRequests
from app.api.security import require_api_key
from app.settings import Settings

OPEN = (health.router, metrics.router)
"""Routers that anybody may call; every other one asks for the API key."""
KEYED = (
    visual.router,
    similarity.router,
    pages.router,
    text.router,
    rerank.router,
    predict.router,
    models.router,
    fine_tune.router,
    training.router,
)

MAX_FORM_FIELDS = 100


def install(app: FastAPI, settings: Settings, metrics_registry: CollectorRegistry) -> None:
    """Give `app` its routes, error handlers and middleware, after which it takes no more of these.

    The handlers find `engine` and `settings` in `app.state`; whoever builds the application puts them there.
    """
    # A redirect would go wherever the request's Host header says.
    app.router.redirect_slashes = False
    app.state.metrics_registry = metrics_registry
    app.state.request_slots = RequestSlots(settings.max_concurrent_requests)
    for router in OPEN:
        app.include_router(router)
    for router in KEYED:
        app.include_router(
            router,
            dependencies=[Depends(require_api_key)],
            form_limits={
                "max_files": settings.max_items,
                "max_fields": MAX_FORM_FIELDS,
                "max_part_size": 4 * settings.max_text_chars,
            },
        )
    playground.install(app)
    errors.install(app)
    app.add_middleware(CancelOnDisconnect)
    # Around the whole stack, for its outermost layer is Starlette's, which answers when there is a bug.
    app.middleware_stack = ObserveRequests(app.build_middleware_stack(), HttpMetrics(metrics_registry))
