"""Single queries on a GPU: how long they take alone, and while an ingest takes all that the server has."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import orjson

from benchmarks.gpu_setting import CONNECTIONS, GpuServer
from benchmarks.latency import percentile
from benchmarks.load import Address, drive
from benchmarks.report import Report
from benchmarks.texts import Text, n_tokens

N_TIMES = 40
"""How often each query is asked."""
PAUSE_S = 0.02


def ask(port: int, query: str) -> None:
    """One query over HTTP."""
    body = orjson.dumps({"text": query, "is_query": True, "model": "model"})
    drive(Address(port, "/vectorize"), [body], 1)


def measure_queries(
    server: GpuServer,
    ways: Mapping[str, Sequence[Callable[[], object]]],
    ingest: Sequence[Sequence[Text]],
    report: Report,
) -> None:
    """A table; the first of `ways` is the one that is measured during the ingest as well."""
    table = report.table("Single queries, one after the other", "Milliseconds. Tokens a second: of the ingest.")
    for way, calls in ways.items():
        table.row(way=way, **percentiles([milliseconds(call) for call in [*calls] * N_TIMES]))
    tokens = sum(n_tokens([*texts]) for texts in ingest)
    bodies = [orjson.dumps(server.body(texts)) for texts in ingest]
    # In a process of its own: here its threads would hold up the queries' clock.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        address = Address(server.port, server.path)

        def begin() -> Future[float]:
            return process.submit(seconds_to_drive, address, bodies, CONNECTIONS)

        table.row(way="an ingest alone", tokens_per_s=tokens / begin().result())
        ingesting = begin()
        way, calls = next(iter(ways.items()))
        found: list[float] = []
        while not ingesting.done():
            found.append(milliseconds(calls[len(found) % len(calls)]))
            time.sleep(PAUSE_S)
        table.row(way=f"{way}, during the ingest", **percentiles(found), tokens_per_s=tokens / ingesting.result())
    report.show(table)


def seconds_to_drive(address: Address, bodies: Sequence[bytes], connections: int) -> float:
    """`drive` without its answers."""
    return drive(address, bodies, connections)[0]


def milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


def percentiles(found: Sequence[float]) -> dict[str, float]:
    return {"p50_ms": percentile(found, 50), "p99_ms": percentile(found, 99)}
