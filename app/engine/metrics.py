"""What the models report to Prometheus. docs/metrics.md describes every metric."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from app.core.errors import ManyvecError, ModelNotFoundError

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Upper ends of the buckets of every duration."""
TOKENS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def metrics_registry() -> CollectorRegistry:
    """An application's metrics, with those of its process. No two applications share one."""
    # Of this library for the whole process: a second series beside each counter that no query needs.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


@dataclass(frozen=True, slots=True)
class LaneMetrics:
    """Of one lane of one model. Called from the lane's threads; each observation takes about a microsecond."""

    prepare_wait: Histogram
    prepare: Histogram
    queue_wait: Histogram
    model: Histogram
    batch_tokens: Histogram
    batch_items: Histogram
    tokens: Counter
    padding: Counter
    splits: Counter

    def prepared(self, wait_s: float, prepare_s: float) -> None:
        """Inputs waited for a thread, which prepared them or failed to."""
        self.prepare_wait.observe(wait_s)
        self.prepare.observe(prepare_s)

    def taken(self, waits_s: Sequence[float]) -> None:
        """Inputs that waited so long are about to be computed."""
        for wait_s in waits_s:
            self.queue_wait.observe(wait_s)

    def computed(self, n_items: int, n_tokens: int, n_computed: int, seconds: float) -> None:
        """A batch has been computed. `n_computed` are its tokens with padding."""
        self.model.observe(seconds)
        self.batch_items.observe(n_items)
        self.batch_tokens.observe(n_computed)
        self.tokens.inc(n_tokens)
        self.padding.inc(n_computed - n_tokens)


class EngineMetrics:
    """Of all models. Without a registry they are kept and never shown."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        def histogram(name: str, help_text: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(f"manyvec_{name}", help_text, ("model", "lane"), registry=registry, buckets=buckets)

        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(f"manyvec_{name}", help_text, ("model", *labels), registry=registry)

        self._prepare_wait = histogram("prepare_wait_seconds", "Wait of inputs for a preparing thread", SECONDS)
        self._prepare = histogram(
            "prepare_seconds", "Decoding, resizing, tokenizing: up to 16 texts, an image", SECONDS
        )
        self._queue_wait = histogram("queue_wait_seconds", "Wait of a prepared input for its batch", SECONDS)
        self._model = histogram("model_seconds", "Computing of a batch by the model", SECONDS)
        self._batch_tokens = histogram("batch_tokens", "Tokens computed in a batch, padding included", TOKENS)
        self._batch_items = histogram("batch_items", "Inputs computed in a batch", ITEMS)
        self._tokens = counter("tokens_total", "Tokens of the inputs computed, without padding", "lane")
        self._padding = counter("padding_tokens_total", "Tokens computed as padding", "lane")
        self._splits = counter("batch_splits_total", "Batches that failed and were computed again in halves", "lane")
        self._errors = counter("errors_total", "Requests that a model did not answer, by kind of error", "kind")

    def lane(self, model: str, lane: str) -> LaneMetrics:
        """Those of one lane, which show from now on."""
        return LaneMetrics(
            prepare_wait=self._prepare_wait.labels(model, lane),
            prepare=self._prepare.labels(model, lane),
            queue_wait=self._queue_wait.labels(model, lane),
            model=self._model.labels(model, lane),
            batch_tokens=self._batch_tokens.labels(model, lane),
            batch_items=self._batch_items.labels(model, lane),
            tokens=self._tokens.labels(model, lane),
            padding=self._padding.labels(model, lane),
            splits=self._splits.labels(model, lane),
        )

    @contextmanager
    def counting_errors(self, model: str) -> Iterator[None]:
        """Around what a model does for a request. A caller that leaves is no error."""
        try:
            yield
        except ModelNotFoundError:
            # Its name is the client's own and must not become a label.
            raise
        except Exception as error:
            self._errors.labels(model, error_kind(error)).inc()
            raise


def error_kind(error: Exception) -> str:
    """`bad_input`, `queue_full`, `model_load`, ... by the error's class; `internal` for a bug."""
    if not isinstance(error, ManyvecError):
        return "internal"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).lower()
