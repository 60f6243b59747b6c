"""Latency of single queries and of /health, alone and while a bulk ingest saturates the server.

python -m benchmarks.latency [--size small] [--rounds 5]
"""

import argparse
import http.client
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import orjson

from benchmarks.checkpoints import E5_SHAPES, e5_checkpoint
from benchmarks.report import Report, median
from benchmarks.servers import Ours
from benchmarks.texts import Text, ragged_texts

PHASE_S = 8.0
QUERY_PAUSE_S = 0.25
HEALTH_PAUSE_S = 0.05
INGEST_CONNECTIONS = 8
TEXTS_A_REQUEST = 8
QUERIES = tuple(f"where does the {word} house stand" for word in ("red", "old", "small", "open", "white"))


@dataclass
class Phase:
    """What was seen in a few seconds of one kind of load."""

    query_ms: list[float] = field(default_factory=list)
    health_ms: list[float] = field(default_factory=list)
    n_ingested: int = 0
    """Tokens of the documents that were answered."""
    seconds: float = 0.0

    @property
    def tokens_a_second(self) -> float:
        return self.n_ingested / self.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=list(E5_SHAPES), default="small")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    checkpoint = e5_checkpoint(options.size)
    documents = ragged_texts(512, checkpoint)
    phases: dict[str, list[Phase]] = {"queries": [], "ingest": [], "both": [], "both, one lane": []}
    with Ours(checkpoint) as server:
        run(server, documents, queries=True, ingest=True, seconds=2)
        for _ in range(options.rounds):
            phases["queries"].append(run(server, documents, queries=True))
            phases["ingest"].append(run(server, documents, ingest=True))
            phases["both"].append(run(server, documents, queries=True, ingest=True))
            phases["both, one lane"].append(run(server, documents, queries=True, ingest=True, overtaking=False))
    report(options.size, phases)


def report(size: str, phases: dict[str, list[Phase]]) -> None:
    """Medians over the rounds, and ratios to the unmixed loads."""
    report = Report("latency", "Latency under load")
    table = report.table(
        f"Single queries and an ingest, multilingual-e5-{size}'s shape",
        note=f"Milliseconds; medians of {len(phases['both'])} rounds of {PHASE_S:g} s. Ingest: {INGEST_CONNECTIONS} "
        f"connections, {TEXTS_A_REQUEST} ragged texts a request. One lane: the queries sent as documents, which wait "
        "their turn.",
    )
    alone = median([percentile(phase.query_ms, 99) for phase in phases["queries"]])
    full = median([phase.tokens_a_second for phase in phases["ingest"]])
    for name, rounds in phases.items():
        p99 = median([percentile(phase.query_ms, 99) for phase in rounds]) if rounds[0].query_ms else None
        ingested = median([phase.tokens_a_second for phase in rounds])
        table.row(
            load=name,
            query_p50=median([percentile(p.query_ms, 50) for p in rounds]) if p99 else None,
            query_p99=p99,
            p99_ratio=p99 / alone if p99 else None,
            ingest_tokens_s=ingested or None,
            ingest_loss=f"{100 * (1 - ingested / full):.0f} %" if ingested else None,
            health_p99=median([percentile(phase.health_ms, 99) for phase in rounds]),
        )
    report.finish()


def run(
    server: Ours,
    documents: Sequence[Text],
    *,
    queries: bool = False,
    ingest: bool = False,
    overtaking: bool = True,
    seconds: float = PHASE_S,
) -> Phase:
    """Put the server under these loads for some seconds; /health is asked throughout."""
    phase = Phase()
    stop = threading.Event()
    jobs: list[Callable[[], None]] = [lambda: ask_health(server, phase, stop)]
    if queries:
        jobs.append(lambda: _ask_queries(server, phase, stop, is_query=overtaking))
    if ingest:
        jobs += [
            lambda part=part: pour(server, documents[part::INGEST_CONNECTIONS], phase, stop)  # type: ignore[misc]
            for part in range(INGEST_CONNECTIONS)
        ]
    clock(phase, jobs, stop, seconds)
    return phase


def clock(phase: Phase, jobs: Sequence[Callable[[], None]], stop: threading.Event, seconds: float) -> None:
    """Do all of these at once for some seconds."""
    threads = [threading.Thread(target=job) for job in jobs]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    # Only what was answered by now counts: requests that are under way end after the clock.
    phase.seconds, n_ingested = time.perf_counter() - started, phase.n_ingested
    stop.set()
    for thread in threads:
        thread.join()
    phase.n_ingested = n_ingested


def percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent))


def _ask_queries(server: Ours, phase: Phase, stop: threading.Event, *, is_query: bool) -> None:
    with connected(server) as connection:
        while not stop.wait(QUERY_PAUSE_S):
            text = QUERIES[len(phase.query_ms) % len(QUERIES)]
            body = orjson.dumps({"text": text, "model": "e5", "is_query": is_query})
            phase.query_ms.append(timed(connection, "POST", "/vectorize", body))


def ask_health(server: Ours, phase: Phase, stop: threading.Event) -> None:
    """Ask for it all the time."""
    with connected(server) as connection:
        while not stop.wait(HEALTH_PAUSE_S):
            phase.health_ms.append(timed(connection, "GET", "/health"))


def pour(
    server: Ours, documents: Sequence[Text], phase: Phase, stop: threading.Event, a_request: int = TEXTS_A_REQUEST
) -> None:
    """Send these documents again and again over one connection."""
    at = 0
    with connected(server) as connection:
        while not stop.is_set():
            batch = [documents[(at + i) % len(documents)] for i in range(a_request)]
            timed(connection, "POST", "/vectorize-batch", orjson.dumps(server.body(batch)))
            phase.n_ingested += sum(text.n_tokens for text in batch)
            at += a_request


@contextmanager
def connected(server: Ours) -> Iterator[http.client.HTTPConnection]:
    """A connection that is kept."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        yield connection
    finally:
        connection.close()


def timed(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> float:
    """Milliseconds of one exchange. Raises `RuntimeError` for any answer but 200."""
    started = time.perf_counter()
    connection.request(method, path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{path} answered {response.status}")
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
