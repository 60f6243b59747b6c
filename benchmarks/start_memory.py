"""How soon the starter set answers, what an idle model takes beside its weights, whether memory stays flat.

python -m benchmarks.start_memory [--rounds 5] [--requests 10000] [--only start idle flat]

Start: a fresh process for each round and first request, which is sent as soon as the port is open. Idle: by how much
resident memory grows when a model is loaded after another one that has brought the imports. Flat: requests of many
sizes by 8 connections, the first tenth of them to warm up.
"""

import argparse
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import cycle, islice

import orjson

from benchmarks.checkpoints import CACHE, E5_SHAPES, e5_checkpoint
from benchmarks.load import Address, drive
from benchmarks.memory import resident_bytes
from benchmarks.report import ROOT, Report, median
from benchmarks.servers import free_port
from benchmarks.starter_families import FAMILIES, StarterFamily

MB = 1e6
CONNECTIONS = 8
HEALTH = "/health"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=10_000, help="of each family")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    report = Report("start_memory", "Start and memory")
    for part in options.only:
        PARTS[part](report, options)
    report.finish()


def start(report: Report, options: argparse.Namespace) -> None:
    """Seconds from the start of the process to the answer of its first request."""
    table = report.table("Start with the starter set", f"Seconds since the process began; {options.rounds} rounds.")
    seconds: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        for family in (None, *FAMILIES):
            seconds.setdefault(family.name if family else HEALTH, []).append(first_answer(family))
    for name, rounds in seconds.items():
        answered = [answer for _, answer in rounds]
        port_open = median([opened for opened, _ in rounds])
        table.row(first_request=name, port_open=port_open, answered=median(answered), slowest=max(answered))


def first_answer(family: StarterFamily | None) -> tuple[float, float]:
    """Seconds until a fresh server's port is open, and until it has answered the family, or /health."""
    body = family.requests()[0] if family else b""
    began = time.perf_counter()
    with starter_server() as (port, _):
        opened = time.perf_counter() - began
        if family is None:
            get(port, HEALTH)
        else:
            drive(family.address(port), [body], 1)
        return opened, time.perf_counter() - began


def idle(report: Report, options: argparse.Namespace) -> None:
    """Resident memory of one more model, over its weights."""
    table = report.table("Idle models of E5's shapes", "MB of 1,000,000 bytes, after one request.")
    entry = '[[model]]\nname = "{0}"\nfamily = "e5"\ncheckpoint = "{1}"\ntrained = false\n'
    models = CACHE / "idle.toml"
    models.write_text("".join(entry.format(size, e5_checkpoint(size).name) for size in E5_SHAPES), encoding="utf-8")
    with server({"MODELS_FILE": str(models), "MODELS_DIR": str(CACHE)}) as (port, pid):
        before = resident_bytes(pid)
        for number, size in enumerate(E5_SHAPES):
            drive(Address(port, "/vectorize"), [orjson.dumps({"text": "hello", "model": size})], 1)
            grown, before = resident_bytes(pid) - before, resident_bytes(pid)
            weights = weights_bytes(port, size)
            table.row(
                model=f"{size}{' (with the imports)' if number == 0 else ''}",
                weights=weights / MB,
                grown_by=grown / MB,
                over_weights=(grown - weights) / MB,
                resident=before / MB,
            )


def flat(report: Report, options: argparse.Namespace) -> None:
    """Resident memory of one server while every family in turn answers its requests."""
    table = report.table(
        "Many requests", "Resident MB of one server after the first request, a tenth, half and all of a family's."
    )
    with starter_server() as (port, pid):
        for family in FAMILIES:
            address, bodies = family.address(port), cycle(family.requests())
            marks, seconds, sent = [], 0.0, 0
            n = options.requests // family.slowness
            for goal in (1, n // 10, n // 2, n):
                seconds += drive(address, list(islice(bodies, goal - sent)), min(CONNECTIONS, goal))[0]
                sent = goal
                marks.append(resident_bytes(pid) / MB)
            first, tenth, half, end = marks
            table.row(
                family=family.name,
                requests=n,
                first=first,
                tenth=tenth,
                half=half,
                end=end,
                growth_after_a_tenth=end - tenth,
                requests_s=n / seconds,
            )


PARTS: dict[str, Callable[[Report, argparse.Namespace], None]] = {"start": start, "idle": idle, "flat": flat}


@contextmanager
def server(settings: dict[str, str]) -> Iterator[tuple[int, int]]:
    """Port and process id of `python -m app serve` as soon as its port is open."""
    port = free_port()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PORT": str(port), **settings}
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "start_memory.log").open("wb") as log:
        command = [sys.executable, "-m", "app", "serve"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        while not is_open(port):
            if process.poll() is not None:
                raise RuntimeError(f"The server does not start; {log.name} says why.")
            time.sleep(0.005)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def starter_server() -> AbstractContextManager[tuple[int, int]]:
    return server({"MODELS_FILE": str(ROOT / "starter.toml")})


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def weights_bytes(port: int, model: str) -> int:
    models = orjson.loads(get(port, "/v1/models"))["data"]
    n_bytes: int = next(entry["memory_bytes"] for entry in models if entry["id"] == model)
    return n_bytes


if __name__ == "__main__":
    main()
