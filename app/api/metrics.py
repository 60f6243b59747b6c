"""`GET /metrics`: what Prometheus asks for."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from app.api.route import EngineDep, operation_id
from app.engine.engine import Engine, ModelState

router = APIRouter(tags=["server"], generate_unique_id_function=operation_id)

OPENMETRICS = "application/openmetrics-text"


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=PlainTextResponse,
    responses={200: {"description": "In OpenMetrics' format if `Accept` asks for it, else in Prometheus' own."}},
)
async def metrics(request: Request, engine: EngineDep) -> Response:
    scrape = Scrape(model_gauges(engine), request.app.state.metrics_registry)
    # Not prometheus_client's choose_encoder: it fails on versions that are no numbers and repeats those that are.
    wants_openmetrics = OPENMETRICS in request.headers.get("accept", "")
    write, content_type = (
        (openmetrics.generate_latest, openmetrics.CONTENT_TYPE_LATEST)
        if wants_openmetrics
        else (generate_latest, CONTENT_TYPE_PLAIN_0_0_4)
    )
    return Response(await asyncio.to_thread(write, scrape), headers={"Content-Type": content_type})


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one scrape sees."""

    gauges: Sequence[Metric]
    registry: CollectorRegistry

    def collect(self) -> Iterator[Metric]:
        yield from self.gauges
        yield from self.registry.collect()


def model_gauges(engine: Engine) -> list[Metric]:
    """How the models are at this moment. Read on the event loop, to which they belong."""
    states = GaugeMetricFamily("manyvec_model_state", "1 for the state that a model is in", labels=["model", "state"])
    memory = GaugeMetricFamily("manyvec_model_memory_bytes", "Weights and buffers on the device", labels=["model"])
    items = GaugeMetricFamily("manyvec_items_in_flight", "Inputs accepted and not yet answered", labels=["model"])
    queue = GaugeMetricFamily("manyvec_queue_length", "Inputs that wait for a batch", labels=["model", "lane"])
    for status in engine.models():
        for state in ModelState:
            states.add_metric([status.config.name, state], float(status.state is state))
    for name, usage in engine.usages().items():
        memory.add_metric([name], usage.memory_bytes)
        items.add_metric([name], usage.n_items)
        for lane, length in usage.queue_lengths.items():
            queue.add_metric([name, lane], length)
    return [states, memory, items, queue]
