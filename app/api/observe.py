"""Every request from outside: its id, the times in its answer's headers, and its metrics."""

import re
import uuid

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import METHODS
from app.core.trace import RequestTrace, current_request
from app.engine.metrics import SECONDS

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
"""Ids of clients that are taken over; what else they send might forge log lines."""

PHASES = ("render", "load", "queue", "prepare", "model", "encode")
"""In the order in which a request goes through them."""

OTHER = "other"
"""Stands for every unknown path and method: a scan must not make a series of each."""
NO_ANSWER = "499"
"""Status of a request whose client left before its answer began; nginx's number for it."""


class HttpMetrics:
    """Of all requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "route")
        self.in_flight = Gauge("manyvec_requests_in_flight", "Requests being answered", registry=registry)
        self._requests = Counter(
            "manyvec_requests_total", "Requests by the status of their answer", (*labels, "status"), registry=registry
        )
        self._duration = Histogram(
            "manyvec_request_duration_seconds",
            "From a request's head to the end of its answer",
            labels,
            registry=registry,
            buckets=SECONDS,
        )
        self._encode = Histogram(
            "manyvec_encode_seconds",
            "Making answers of a model's vectors: scores, pooling, writing",
            ("model",),
            registry=registry,
            buckets=SECONDS,
        )

    def ended(self, scope: Scope, status: str, trace: RequestTrace) -> None:
        """A request is over, whether it was answered or not."""
        method = scope["method"] if scope["method"] in METHODS else OTHER
        # The router leaves the route here: its path is the template, `/models/{name}/load`.
        route = getattr(scope.get("route"), "path", None) or OTHER
        self._requests.labels(method, route, status).inc()
        self._duration.labels(method, route).observe(trace.elapsed_s())
        if trace.model is not None and "encode" in trace.seconds:
            self._encode.labels(trace.model).observe(trace.seconds["encode"])


class ObserveRequests:
    """ASGI middleware: gives every request a trace, every answer `X-Request-Id` and `Server-Timing`."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = RequestTrace(request_id(scope))
        token = current_request.set(trace)
        status = NO_ANSWER

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
                message["headers"] = [*message.get("headers", ()), *_headers(trace)]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_observed)
        finally:
            self._metrics.in_flight.dec()
            self._metrics.ended(scope, status, trace)
        # Not after an error: the server logs it in this task, which it has made for this request.
        current_request.reset(token)


def request_id(scope: Scope) -> str:
    """The client's own id if it is harmless, else a new one."""
    sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return sent.decode("ascii") if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex


def server_timing(trace: RequestTrace) -> str:
    """`queue;dur=1.20, prepare;dur=0.81, ...` in milliseconds (W3C Server Timing), with the total until now."""
    times = [(phase, trace.seconds[phase]) for phase in PHASES if phase in trace.seconds]
    return ", ".join(f"{phase};dur={1000 * seconds:.2f}" for phase, seconds in [*times, ("total", trace.elapsed_s())])


def _headers(trace: RequestTrace) -> list[tuple[bytes, bytes]]:
    return [(b"x-request-id", trace.request_id.encode()), (b"server-timing", server_timing(trace).encode())]
