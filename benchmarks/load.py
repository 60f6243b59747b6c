"""A closed-loop HTTP client: every connection sends its next request when it has the answer to the last."""

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Address:
    """Where requests go: `POST http://127.0.0.1:port/path`, with bodies of that type."""

    port: int
    path: str
    content_type: str = "application/json"


def drive(address: Address, bodies: Sequence[bytes], connections: int) -> tuple[float, list[bytes]]:
    """Send every body; returns the seconds that it took and the answers in the order of `bodies`.

    The clock starts when all connections stand. Raises `RuntimeError` for any answer but 200.
    """
    answers: list[bytes] = [b""] * len(bodies)
    problems: list[Exception] = []
    numbered = iter(enumerate(bodies))
    lock = threading.Lock()
    start = threading.Barrier(connections + 1)

    def run() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=TIMEOUT_S)
        try:
            connection.connect()
            start.wait()
            for index, body in _shared(numbered, lock):
                answers[index] = _post(connection, address, body)
        except Exception as error:
            problems.append(error)
            # Where it could not connect, nobody waits for it.
            start.abort()
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(connections)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        start.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    if problems:
        raise problems[0]
    return seconds, answers


def _shared(numbered: Iterator[tuple[int, bytes]], lock: threading.Lock) -> Iterator[tuple[int, bytes]]:
    while True:
        with lock:
            item = next(numbered, None)
        if item is None:
            return
        yield item


def _post(connection: http.client.HTTPConnection, address: Address, body: bytes) -> bytes:
    connection.request("POST", address.path, body, {"Content-Type": address.content_type})
    response = connection.getresponse()
    answer = response.read()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{address.path} answered {response.status}: {answer[:300]!r}")
    return answer
