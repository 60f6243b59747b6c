"""The process that draws: `python -m app.pdf.worker`, started by `PdfProcess`, one PDF at a time.

Ends with its standard input, that is with the server.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any, BinaryIO

from app.pdf.drawing import PdfError, PdfFile
from app.pdf.protocol import FAULT, N_BYTES, Fault, Resolution, message

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]

READY = {"ready": True}
FAST_COMPRESSION = 1
"""zlib's level: PNGs of pages are as small as at the default, in two thirds of the time."""


def serve(worker: "Worker", source: BinaryIO, sink: BinaryIO) -> None:
    """Answer requests until there are no more."""
    _send(sink, READY)
    for request, data in requests(source):
        if request["do"] == "close":
            worker.close()
            continue
        limit("RLIMIT_CPU", _cpu_seconds() + int(request["seconds"]))
        _send(sink, *worker.answer(request, data))


def requests(source: BinaryIO) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    """Each with the bytes that follow it."""
    for line in iter(source.readline, b""):
        request = json.loads(line)
        yield request, source.read(request.get(N_BYTES, 0))


class Worker:
    """Has one PDF open, or none."""

    def __init__(self) -> None:
        self._file: PdfFile | None = None

    def answer(self, request: Mapping[str, Any], data: bytes) -> tuple[Mapping[str, Any], bytes]:
        """A line and the bytes that follow it; `fault` in the line if it cannot be done."""
        try:
            if request["do"] == "open":
                return {"n_pages": self._open(data)}, b""
            return self._draw(request["page"] - 1, Resolution(**request["resolution"]))
        except PdfError as error:
            return {FAULT: error.fault}, b""
        except MemoryError:
            return {FAULT: Fault.PAGE}, b""

    def close(self) -> None:
        """Free the PDF that is open, if one is."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, data: bytes) -> int:
        self.close()
        self._file = PdfFile(data)
        return self._file.n_pages

    def _draw(self, index: int, resolution: Resolution) -> tuple[Mapping[str, Any], bytes]:
        assert self._file is not None  # noqa: S101 - the server opens one first
        image, file = self._file.draw(index, resolution), BytesIO()
        image.save(file, "PNG", compress_level=FAST_COMPRESSION)
        return {"width": image.width, "height": image.height}, file.getvalue()


def limit(kind: str, amount: int) -> None:
    """Limit a resource of this process, where the system can."""
    if resource is not None and hasattr(resource, kind):
        number = getattr(resource, kind)
        _, hard = resource.getrlimit(number)
        with suppress(OSError, ValueError):
            resource.setrlimit(number, (amount, hard))


def _cpu_seconds() -> int:
    times = os.times()
    return int(times.user + times.system) + 1


def _send(sink: BinaryIO, content: Mapping[str, Any], data: bytes = b"") -> None:
    sink.write(message(content, data))
    sink.write(data)
    sink.flush()


def main(worker: Worker, address_space: int) -> None:
    limit("RLIMIT_AS", address_space)
    limit("RLIMIT_CORE", 0)
    logging.disable()
    # Whatever a library prints must not get between the answers.
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(worker, sys.stdin.buffer, sink)


if __name__ == "__main__":
    main(Worker(), int(sys.argv[1]))
